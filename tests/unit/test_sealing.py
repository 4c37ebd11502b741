"""Encrypted texts open only with the right key and in the right place."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.case.encryption import PREFIX, Keyring, fingerprint, key_of, make_key, parse_keys
from worker.errors import CaseSealed

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.text(max_size=20))
def test_what_is_sealed_opens_in_its_place_only(text: str, place: str) -> None:
    ring = Keyring([NEW])

    sealed = ring.seal(text, place)

    assert ring.open(sealed, place) == text
    with pytest.raises(CaseSealed):
        ring.open(sealed, place + "1")


def test_no_sealed_text_can_be_taken_for_json_and_each_names_its_key() -> None:
    sealed = Keyring([NEW, OLD]).seal('{"debtor":{"name":"Søren"}}', "p")

    assert sealed.startswith(f"{PREFIX}{fingerprint(NEW)}:")
    assert (key_of(sealed), key_of('{"sealed1:":1}')) == (fingerprint(NEW), None)
    assert "debtor" not in sealed
    assert base64.b64encode(NEW).decode() not in sealed


def test_the_same_text_is_never_sealed_alike() -> None:
    ring = Keyring([NEW])
    assert len({ring.seal("x", "p") for _ in range(50)}) == 50


def test_older_keys_open_and_the_newest_seals() -> None:
    sealed = Keyring([OLD]).seal("x", "p")

    ring = Keyring([NEW, OLD])

    assert ring.open(sealed, "p") == "x"
    assert key_of(ring.seal("x", "p")) == ring.newest == fingerprint(NEW)
    assert ring.fingerprints == (fingerprint(NEW), fingerprint(OLD))


def test_a_missing_key_is_named_and_what_to_do() -> None:
    sealed = Keyring([OLD]).seal("x", "p")

    with pytest.raises(CaseSealed, match=f"{fingerprint(OLD)}.*not in CASE_ENCRYPTION_KEYS.*put that key back") as told:
        Keyring([NEW]).open(sealed, "p")

    assert not told.value.altered


@pytest.mark.parametrize("place", [0, 5, 30, -1])
def test_an_altered_text_does_not_open(place: int) -> None:
    head, _, body = Keyring([NEW]).seal('{"debtor":{}}', "p").rpartition(":")
    raw = bytearray(base64.b64decode(body))
    raw[place] ^= 1

    for wrong in (base64.b64encode(raw).decode(), body[:8], "", "?", body[:-4]):
        with pytest.raises(CaseSealed, match="altered") as told:
            Keyring([NEW]).open(f"{head}:{wrong}", "p")
        assert told.value.altered


def test_many_threads_share_a_keyring() -> None:
    ring = Keyring([NEW])

    def there_and_back(n: int) -> bool:
        return ring.open(ring.seal(str(n) * 50, f"job:{n}"), f"job:{n}") == str(n) * 50

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(there_and_back, range(2000)))


@pytest.mark.parametrize("separator", [" ", ",", "\n", " , "])
def test_keys_are_read_in_any_usual_writing_the_newest_first(separator: str) -> None:
    written = [NEW.hex(), base64.b64encode(OLD).decode(), base64.urlsafe_b64encode(b"\xff" * 32).decode().rstrip("=")]

    assert parse_keys(f" {separator.join(written)}{separator}") == (NEW, OLD, b"\xff" * 32)
    assert parse_keys(f"{NEW.hex()} {NEW.hex()}") == (NEW,)
    assert parse_keys(" ") == ()


@pytest.mark.parametrize("wrong", ["x", "00" * 31, "00" * 33, base64.b64encode(bytes(16)).decode(), "g" * 64])
def test_a_key_that_is_none_is_counted_and_not_repeated(wrong: str) -> None:
    with pytest.raises(ValueError, match="key 2 is not 32 bytes in base64 or hex") as told:
        parse_keys(f"{NEW.hex()}, {wrong}")

    assert wrong not in str(told.value).replace("base64 or hex", "")


def test_a_new_key_is_one_and_another_each_time() -> None:
    made = {make_key() for _ in range(20)}
    assert len(parse_keys(" ".join(made))) == 20
