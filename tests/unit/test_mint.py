"""Minting a token: every answer of POST /oauth/token means one thing."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import pytest

from tests.support.scripted_server import Action, ScriptedServer, answer, raw, reset, silence
from worker.debitura.apis import MintedToken, mint_token
from worker.debitura.http import HttpClient
from worker.errors import (
    ApiError,
    ClientLinkNotFound,
    MintRateLimited,
    MintRefused,
    MintUnavailable,
    PartnerKeyRejected,
)

PAGE = b"\r\n <html><h1>404 Not Found</h1></html>"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Parsing at the recursion limit leaves no frame for the callbacks that Hypothesis adds to the collector."""
    gc.disable()
    yield
    gc.enable()


def mint(server: ScriptedServer, tenant: str = "acme-42") -> MintedToken:
    client = HttpClient(server.url, timeout=0.5, connections=1)
    return mint_token(client, api_key="partner-key", external_tenant_id=tenant)


def token_answer(**fields: object) -> Action:
    return answer(200, json.dumps({"accessToken": "a.b.c", "tokenType": "Bearer", "expiresIn": 1800} | fields).encode())


@pytest.mark.parametrize("tenant", ["acme-42", "Ærø/../🏦", 'quote"', " "])
def test_a_mint_request_is_as_documented(tenant: str) -> None:
    with ScriptedServer(token_answer()) as server:
        minted = mint(server, tenant)

    assert minted == MintedToken("a.b.c", 1800)
    assert server.line() == "POST /oauth/token HTTP/1.1"
    assert server.head()["xapikey"] == "partner-key"
    assert server.head()["content-type"] == "application/json"
    assert json.loads(server.body()) == {"externalTenantId": tenant}


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (answer(404, b'{"error": "NotFound", "message": "no link"}'), ClientLinkNotFound),
        (answer(404, b""), MintUnavailable),
        (answer(404, PAGE), MintUnavailable),
        (answer(401, b"{}"), PartnerKeyRejected),
        (answer(403, b""), PartnerKeyRejected),
        (answer(403, b'{"message": "forbidden"}'), PartnerKeyRejected),
        (answer(403, PAGE), MintUnavailable),
        (answer(400, b'{"message": "externalTenantId is required"}'), MintRefused),
        (answer(422, b'{"message": "no"}'), MintRefused),
        (answer(422, b"{}"), MintUnavailable),
        (answer(429, b'{"retryAfter": 42.0}'), MintRateLimited),
        (answer(500, b"{}"), MintUnavailable),
        (answer(502, PAGE), MintUnavailable),
        (answer(503, b""), MintUnavailable),
        (answer(409, b"{}"), MintUnavailable),
        (answer(302, b"", "Location: /login"), MintUnavailable),
        (answer(204, b""), MintUnavailable),
        (reset, MintUnavailable),
        (silence, MintUnavailable),
        (raw(b"nonsense\r\n"), MintUnavailable),
    ],
    ids=[
        "404", "empty 404", "404 of a gateway", "401", "empty 403", "403", "403 of a firewall", "400", "422",
        "422 of a gateway", "429", "500", "502", "503", "409",
        "redirect", "204", "reset", "silence", "not HTTP",
    ],
)  # fmt: skip
def test_each_answer_of_the_mint_has_its_outcome(action: Action, error: type[ApiError]) -> None:
    with ScriptedServer(action) as server, pytest.raises(ApiError) as found:
        mint(server)

    assert type(found.value) is error
    assert "partner-key" not in str(found.value)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "body",
    [
        b"", PAGE, b"[]", b"null", b'"token"', b"{}", b'{"accessToken": "x"}', b'{"expiresIn": 1800}',
        b'{"accessToken": null, "expiresIn": 1800}', b'{"accessToken": 5, "expiresIn": 1800}',
        b'{"accessToken": "", "expiresIn": 1800}', b'{"accessToken": "a b", "expiresIn": 1800}',
        b'{"accessToken": "a\\r\\nX: y", "expiresIn": 1800}', b'{"accessToken": "\xc3\xa6", "expiresIn": 1800}',
        b'{"accessToken": "a", "expiresIn": null}', b'{"accessToken": "a", "expiresIn": "soon"}',
        b'{"accessToken": "a", "expiresIn": 0}', b'{"accessToken": "a", "expiresIn": -1}',
        b'{"accessToken": "a", "expiresIn": NaN}', b'{"accessToken": "a", "expiresIn": 1e999}',
        b'{"accessToken": "a", "expiresIn": 1' + b"0" * 400 + b"}", b'{"accessToken": "a", "expiresIn": []}',
        b'{"accessToken": "a", "expiresIn": true, "x": ' + b"[" * 100_000, b"\xff\xfe",
    ],
    ids=lambda body: body[:60].decode("latin-1").encode("unicode_escape").decode(),
)  # fmt: skip
def test_a_200_without_a_usable_token_is_trouble_and_not_the_tenants_fault(body: bytes) -> None:
    with ScriptedServer(answer(200, body)) as server, pytest.raises(MintUnavailable):
        mint(server)


def test_a_token_answer_that_broke_off_is_trouble() -> None:
    with ScriptedServer(answer(200, b'{"accessToken": "a.b', length=500)) as server, pytest.raises(MintUnavailable):
        mint(server)


def test_a_lifetime_written_as_text_is_understood() -> None:
    with ScriptedServer(token_answer(expiresIn="900")) as server:
        assert mint(server).expires_in == 900


def test_the_mint_s_words_reach_the_reader_cleaned_and_capped() -> None:
    body = json.dumps({"message": "\x00" + "x" * 5000}).encode()
    with ScriptedServer(answer(404, body)) as server, pytest.raises(ClientLinkNotFound) as found:
        mint(server)

    assert str(found.value) == "\N{REPLACEMENT CHARACTER}" + "x" * 999


def test_a_refusal_keeps_its_status_and_a_limit_its_wait() -> None:
    with ScriptedServer(answer(400, b'{"message": "no"}'), answer(429, b'{"retryAfter": 7}')) as server:
        with pytest.raises(MintRefused) as refused:
            mint(server)
        with pytest.raises(MintRateLimited) as limited:
            mint(server)

    assert refused.value.status == 400
    assert limited.value.retry_after == 7
