"""Keys, client links and tokens (referral-partners/getting-started/authentication)."""

from __future__ import annotations

import jwt
import pytest
import requests

from tests.support.sandbox_clock import Clock
from tests.support.sandbox_partner import Partner


def test_given_a_link_when_minting_then_the_token_is_a_jwt_of_the_tenants_creditor(partner: Partner) -> None:
    answer = partner.mint("acme").json()

    claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})
    assert jwt.get_unverified_header(answer["accessToken"])["alg"] == "HS256"
    assert claims["sub"] == answer["creditorId"]
    assert claims["externalTenantId"] == answer["externalTenantId"] == "acme"
    assert claims["exp"] - claims["iat"] == answer["expiresIn"] == 1800
    assert answer["tokenType"] == "Bearer"


def test_given_two_mints_when_compared_then_tokens_differ_and_the_creditor_does_not(partner: Partner) -> None:
    first, second = partner.mint("acme").json(), partner.mint("acme").json()

    assert first["accessToken"] != second["accessToken"]
    assert first["creditorId"] == second["creditorId"] != partner.mint("Acme").json()["creditorId"]
    assert partner.stats()["mints_by_tenant"] == {"acme": 2, "Acme": 1}


@pytest.mark.parametrize("key", ["", "another"])
def test_given_a_wrong_api_key_when_minting_or_reading_a_client_then_401(partner: Partner, key: str) -> None:
    partner.api_key = key

    for answer in (partner.mint("acme"), partner.mint("missing-1"), partner.client("acme")):
        assert answer.status_code == 401
        assert answer.json().keys() == {"error", "message"}


def test_given_the_key_is_switched_off_when_minting_then_401_until_it_is_on_again(partner: Partner) -> None:
    partner.control("api-key", accepted=False)
    assert partner.mint().status_code == 401

    partner.control("api-key", accepted=True)
    assert partner.mint().status_code == 200


@pytest.mark.parametrize("tenant", [None, "", 5, ["acme"], "x" * 256])
def test_given_no_usable_tenant_id_when_minting_then_400(partner: Partner, tenant: object) -> None:
    assert partner.mint(tenant).status_code == 400


def test_given_the_longest_tenant_id_when_minting_then_it_is_accepted(partner: Partner) -> None:
    assert partner.mint("x" * 255).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_given_a_body_that_is_no_object_when_minting_then_400(partner: Partner, body: bytes) -> None:
    headers = {"XApiKey": partner.api_key, "Content-Type": "application/json"}

    answer = partner.http.post(f"{partner.url}/oauth/token", data=body, headers=headers, timeout=10)

    assert answer.status_code == 400
    assert answer.json()["error"] == "InvalidRequest"


def test_given_no_link_when_minting_or_reading_the_client_then_404(partner: Partner) -> None:
    for answer in (partner.mint("missing-1"), partner.client("missing-1")):
        assert answer.status_code == 404
        assert answer.json().keys() == {"error", "message", "businessErrors"}


def test_given_links_when_reading_clients_then_onboarding_is_told(partner: Partner) -> None:
    done = partner.client("acme%20%C3%86").json()
    unfinished = partner.client("unfinished-1").json()

    assert done == {"externalTenantId": "acme Æ", "onboardingDone": True, "onboardingLinks": None}
    assert unfinished["onboardingDone"] is False
    assert unfinished["onboardingLinks"]["url"].startswith("https://")


def test_given_an_expired_token_when_used_then_401_and_a_fresh_one_works(partner: Partner, clock: Clock) -> None:
    assert partner.get("/me").status_code == 200

    clock.forward(1799)
    assert partner.get("/me").status_code == 200
    clock.forward(1)
    expired = partner.get("/me")

    assert expired.status_code == 401
    assert expired.json().keys() == {"error", "message"}
    partner.forget_tokens()
    assert partner.get("/me").status_code == 200


def test_given_a_shorter_life_when_minting_then_expires_in_says_so(partner: Partner, clock: Clock) -> None:
    partner.control("settings", tokenSeconds=60)

    assert partner.mint().json()["expiresIn"] == 60
    assert partner.get("/me").status_code == 200
    clock.forward(60)
    assert partner.get("/me").status_code == 401


def test_given_tokens_of_two_tenants_when_one_is_revoked_then_the_other_still_works(partner: Partner) -> None:
    assert partner.get("/me", tenant="a").status_code == partner.get("/me", tenant="b").status_code == 200

    assert partner.control("revoke-tokens", externalTenantId="a") == {"revoked": 1}
    assert partner.get("/me", tenant="a").status_code == 401
    assert partner.get("/me", tenant="b").status_code == 200

    assert partner.control("revoke-tokens") == {"revoked": 1}
    assert partner.get("/me", tenant="b").status_code == 401


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer x.y.z", "Basic YTpi"])
def test_given_no_valid_token_when_asking_then_401(partner: Partner, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = requests.post(f"{partner.url}/cases", json=partner.case(), headers=headers, timeout=10)

    assert answer.status_code == 401


def test_given_an_invalid_link_when_its_fresh_token_is_used_then_401_always(partner: Partner) -> None:
    for _ in range(2):
        partner.forget_tokens()
        assert partner.mint("invalid-1").status_code == 200
        assert partner.post(partner.case(), tenant="invalid-1").status_code == 401


def test_given_a_link_is_repaired_by_control_when_used_then_it_works(partner: Partner) -> None:
    assert partner.post(partner.case(), tenant="invalid-1").status_code == 401

    partner.control("links", externalTenantId="invalid-1", state="ok")

    assert partner.post(partner.case(), tenant="invalid-1").status_code == 200


def test_given_a_link_is_withdrawn_when_its_old_token_is_used_then_401_and_no_new_token(partner: Partner) -> None:
    assert partner.post(partner.case()).status_code == 200

    partner.control("links", externalTenantId="acme", state="missing")

    assert partner.post(partner.case()).status_code == 401
    assert partner.mint("acme").status_code == 404


def test_given_the_scheme_in_lower_case_when_used_then_the_token_counts(partner: Partner) -> None:
    headers = {"Authorization": f"bearer {partner.token()}"}

    assert requests.get(f"{partner.url}/me", headers=headers, timeout=10).status_code == 200
