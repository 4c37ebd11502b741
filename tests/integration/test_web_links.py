"""*Check link now*: what the Referral API says of a client, in words."""

from __future__ import annotations

import pytest
from local_servers import free_port

from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from tests.support.web_visitor import Visitor, report

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
    assert "rejects our own key" in answer


@pytest.mark.parametrize("tenant", ["..", ".", "a/../../b", "a b?c#d", "日本"])
def test_any_tenant_id_can_be_asked_about(ledger: Database, variables: Vars, sandbox: Witness, tenant: str) -> None:
    visitor = Visitor(report(ledger, variables))
    sandbox.control("links", externalTenantId=tenant, state="unfinished")

    assert 'data-check="unfinished"' in visitor.post("/links/check", at="/", tenant=tenant).text


def test_a_check_says_that_the_api_is_away(ledger: Database, variables: Vars) -> None:
    away = {**variables, "DEBITURA_REFERRAL_API_URL": f"http://127.0.0.1:{free_port()}"}
    keyless = {name: value for name, value in variables.items() if name != "DEBITURA_API_KEY"}

    assert "The check failed" in Visitor(report(ledger, away)).post("/links/check", at="/", tenant="a").text
    assert (
        "DEBITURA_API_KEY is not set" in Visitor(report(ledger, keyless)).post("/links/check", at="/", tenant="a").text
    )


def test_tenants_are_searched_and_one_that_is_not_listed_is_checked(
    pipeline: Pipeline, ledger: Database, variables: Vars, sandbox: Witness
) -> None:
    pipeline.submit("missing-tenant")
    sandbox.control("links", externalTenantId="Other", state="ok")
    visitor = Visitor(report(ledger, variables))

    assert 'data-tenant="missing-tenant"' in visitor.get("/links?tenant=ING-Ten").text
    nobody = visitor.get("/links?tenant=Other").text
    assert "data-tenant=" not in nobody
    assert "anyway" in nobody
    checked = visitor.post("/links/check", tenant="Other", search="Other").text
    assert 'data-check="fine"' in checked
    assert "canary=yes" not in checked


def test_a_tenant_whose_tokens_were_refused_is_replayed_as_a_canary_once_its_link_is_fine(
    pipeline: Pipeline, ledger: Database, variables: Vars, sandbox: Witness
) -> None:
    for _ in range(2):
        pipeline.enqueue("invalid-link")
    pipeline.run()
    sandbox.control("links", externalTenantId="invalid-link", state="ok")
    visitor = Visitor(report(ledger, variables))

    checked = visitor.post("/links/check", at="/links", tenant="invalid-link").text

    assert "start with a canary" in checked
    assert "canary=yes" in checked
    preview = visitor.get("/act?verb=replay&scope=filter&tenant=invalid-link&links=invalid&canary=yes").text
    assert 'name="canary" value="yes" checked' in preview


def test_the_front_page_says_how_many_tenants_and_how_many_jobs_wait(
    pipeline: Pipeline, ledger: Database, variables: Vars
) -> None:
    for tenant in ("missing-tenant", "missing-tenant", "invalid-link"):
        pipeline.submit(tenant)

    page = Visitor(report(ledger, variables)).get("/").text

    assert 'data-tile="links">2 <span class="unit">tenants' in page
    assert "3 jobs wait: see for whom" in page
