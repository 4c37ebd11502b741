"""*Check link now*: what the Referral API says of a client, in words."""

from __future__ import annotations

import pytest
from local_servers import free_port
from pipeline import Pipeline
from sandbox_witness import Witness
from web_visitor import Visitor, report

from tests.databases import Database

Vars = dict[str, str]


@pytest.mark.parametrize(
    ("link", "words", "state"),
    [
        ("missing", "no active client link", "no_link"),
        ("unfinished", "has not finished onboarding", "unfinished"),
        ("ok", "onboarding is done", "fine"),
    ],
)
def test_a_check_of_a_link_says_in_words_what_is_wrong(
    pipeline: Pipeline, ledger: Database, variables: Vars, sandbox: Witness, link: str, words: str, state: str
) -> None:
    pipeline.submit("missing-tenant")
    visitor = Visitor(report(ledger, variables))
    sandbox.control("links", externalTenantId="missing-tenant", state=link)

    answer = visitor.post("/links/check", at="/links", tenant="missing-tenant").text

    assert f'data-check="{state}"' in answer
    assert words in answer
    assert ("onboarding?client=missing-tenant" in answer) is (link == "unfinished")


def test_a_check_blames_no_client_for_our_own_key(ledger: Database, variables: Vars, sandbox: Witness) -> None:
    visitor = Visitor(report(ledger, variables))
    sandbox.control("api-key", accepted=False)

    answer = visitor.post("/links/check", at="/", tenant="acme").text

    assert 'data-check="unknown"' in answer
    assert "refuses our own key" in answer


@pytest.mark.parametrize("tenant", ["..", ".", "a/../../b", "a b?c#d", "日本"])
def test_any_tenant_id_can_be_asked_about(ledger: Database, variables: Vars, sandbox: Witness, tenant: str) -> None:
    visitor = Visitor(report(ledger, variables))
    sandbox.control("links", externalTenantId=tenant, state="unfinished")

    assert 'data-check="unfinished"' in visitor.post("/links/check", at="/", tenant=tenant).text


def test_a_check_says_that_the_api_is_away(ledger: Database, variables: Vars) -> None:
    away = {**variables, "DEBITURA_REFERRAL_API_URL": f"http://127.0.0.1:{free_port()}"}
    keyless = {name: value for name, value in variables.items() if name != "DEBITURA_API_KEY"}

    assert "could not be asked" in Visitor(report(ledger, away)).post("/links/check", at="/", tenant="a").text
    assert (
        "DEBITURA_API_KEY is not set" in Visitor(report(ledger, keyless)).post("/links/check", at="/", tenant="a").text
    )
