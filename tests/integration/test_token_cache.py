"""The shared token cache in a real Valkey: one mint for everybody, nothing to learn for who reads it, and no need for
it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis
from local_servers import LocalValkey

from tests.support.at_once import at_once
from worker.debitura.apis import MintedToken
from worker.debitura.token_cache import RedisTokenCache
from worker.debitura.tokens import Rejected, TokenStore, fingerprint_of
from worker.errors import ClientLinkNotFound, MintUnavailable

SECRET = "eyJhbGciOi.the-token-itself"
TENANT = "acme-the-tenant"


class Mint:
    """Count the mints; each token is new and takes `slow` seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.slow = 0.0
        self.error: Exception | None = None
        self._guard = threading.Lock()

    def __call__(self, tenant: str) -> MintedToken:
        with self._guard:
            self.count += 1
            number = self.count
        time.sleep(self.slow)
        if self.error:
            raise self.error
        return MintedToken(f"{SECRET}-{tenant}-{number}", 1800)


@pytest.fixture
def mint() -> Mint:
    return Mint()


def cache_at(url: str, *, api_key: str = "key", environment: str = "test", lock_seconds: float = 5) -> RedisTokenCache:
    return RedisTokenCache(url, api_key=api_key, environment=environment, lock_seconds=lock_seconds, connections=16)


@pytest.fixture
def new_store(valkey: LocalValkey, mint: Mint) -> Callable[..., TokenStore]:
    """Make token stores, each with its own memory and connections, like separate processes."""

    def make(url: str = valkey.url, *, longest_mint: float = 10, **cache: object) -> TokenStore:
        return TokenStore(mint, cache_at(url, **cache), longest_mint=longest_mint)  # type: ignore[arg-type]

    return make


@pytest.fixture
def keys(valkey: LocalValkey) -> Iterator[redis.Redis]:
    with valkey.client() as client:
        yield client


def test_two_processes_share_one_token(new_store: Callable[..., TokenStore], mint: Mint) -> None:
    one, other = new_store(), new_store()

    assert one.get(TENANT).value == other.get(TENANT).value
    assert mint.count == 1


def test_many_threads_of_many_processes_cost_one_mint_for_each_tenant(
    new_store: Callable[..., TokenStore], mint: Mint
) -> None:
    stores = [new_store() for _ in range(4)]
    mint.slow = 0.1

    def get(n: int) -> tuple[str, str]:
        tenant = f"tenant-{n % 3}"
        return tenant, stores[n % 4].get(tenant).value

    found = set(at_once(24, get))
    assert len(found) == 3
    assert mint.count == 3


def test_an_expired_token_that_everybody_meets_at_once_costs_one_mint(
    new_store: Callable[..., TokenStore], mint: Mint
) -> None:
    stores = [new_store() for _ in range(4)]
    refused, *_ = [store.get(TENANT) for store in stores]
    mint.slow = 0.05
    # Left well before the mint: of one that left just before it, a thread that had to wait for its processor would
    # not know which came first, and rightly mint once more.
    rejected = Rejected(refused.fingerprint, sent_ago=5)

    def renew(n: int) -> str:
        stores[n % 4].reject(TENANT, refused.fingerprint)
        return stores[n % 4].get(TENANT, rejected=rejected).value

    assert len(set(at_once(16, renew))) == 1
    assert mint.count == 2


def test_nobody_who_reads_redis_learns_a_token_or_a_tenant(
    new_store: Callable[..., TokenStore], keys: redis.Redis
) -> None:
    token = new_store().get(TENANT).value

    everything = b"".join(key + (keys.dump(key) or b"") + (keys.get(key) or b"") for key in keys.scan_iter())
    assert everything
    for secret in (token, SECRET, TENANT, "the-token", "acme"):
        assert secret.encode() not in everything


def test_an_entry_lives_as_long_as_its_token_is_used_and_the_lock_is_gone(
    new_store: Callable[..., TokenStore], keys: redis.Redis
) -> None:
    new_store().get(TENANT)

    (key,) = keys.scan_iter()
    assert 1735 < keys.ttl(key) <= 1740


@pytest.mark.parametrize("other", [{"api_key": "another key"}, {"environment": "production"}], ids=str)
def test_another_key_or_environment_neither_finds_nor_reads_the_entry(
    valkey: LocalValkey, keys: redis.Redis, other: dict[str, str]
) -> None:
    mine, theirs = cache_at(valkey.url), cache_at(valkey.url, **other)  # type: ignore[arg-type]
    mine.put(TENANT, SECRET, fingerprint_of(SECRET), 100, None)
    assert theirs.get(TENANT) is None

    (key,) = keys.scan_iter()
    theirs.put(TENANT, "x", fingerprint_of("x"), 100, None)
    (their_key,) = set(keys.scan_iter()) - {key}
    keys.copy(key, their_key, replace=True)
    assert theirs.get(TENANT) is None, "not even when it is put into its place"


@pytest.mark.parametrize("age", [0, 30])
def test_an_entry_knows_its_age_by_redis_s_own_clock(valkey: LocalValkey, keys: redis.Redis, age: int) -> None:
    cache = cache_at(valkey.url)
    cache.put(TENANT, SECRET, fingerprint_of(SECRET), 100, None)
    (key,) = keys.scan_iter()
    keys.expire(key, 100 - age)

    found = cache.get(TENANT)
    assert found
    assert found.value == SECRET
    assert found.age == pytest.approx(age, abs=2)
    assert found.seconds_left == pytest.approx(100 - age, abs=2)


def test_only_the_refused_token_is_dropped(valkey: LocalValkey) -> None:
    cache = cache_at(valkey.url)
    cache.put(TENANT, "new", fingerprint_of("new"), 100, None)

    cache.drop(TENANT, fingerprint_of("old"))
    assert cache.get(TENANT)
    cache.drop(TENANT, fingerprint_of("new")[:8])
    assert cache.get(TENANT), "half a fingerprint is none"
    cache.drop(TENANT, fingerprint_of("new"))
    assert cache.get(TENANT) is None


def test_a_lock_is_let_go_only_by_its_holder(valkey: LocalValkey) -> None:
    one, other = cache_at(valkey.url), cache_at(valkey.url)
    held = one.lock(TENANT)
    assert held
    assert other.lock(TENANT) is None
    other.unlock(TENANT, "somebody else's")
    assert other.lock(TENANT) is None
    one.put(TENANT, "t", "fp", 100, "somebody else's")
    assert other.lock(TENANT) is None
    one.unlock(TENANT, held)
    assert other.lock(TENANT)


def test_when_the_minting_process_dies_another_goes_on(
    new_store: Callable[..., TokenStore], valkey: LocalValkey, mint: Mint
) -> None:
    assert cache_at(valkey.url, lock_seconds=0.5).lock(TENANT), "and then its process is killed"

    assert new_store().get(TENANT).minted
    assert mint.count == 1


def test_a_mint_that_never_ends_is_trouble_for_later(new_store: Callable[..., TokenStore], valkey: LocalValkey) -> None:
    assert cache_at(valkey.url, lock_seconds=60).lock(TENANT)
    with pytest.raises(MintUnavailable, match="another worker"):
        new_store(longest_mint=0.2).get(TENANT)


def test_a_failed_mint_lets_the_next_one_try_at_once(new_store: Callable[..., TokenStore], mint: Mint) -> None:
    mint.error = ClientLinkNotFound("none")
    with pytest.raises(ClientLinkNotFound):
        new_store().get(TENANT)
    mint.error = None

    began = time.monotonic()
    assert new_store().get(TENANT).minted
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda keys, key: keys.set(key, b"garbage", ex=100),
        lambda keys, key: keys.set(key, b"fp:" + b"A" * 200, ex=100),
        lambda keys, key: keys.set(key, b"\xff\x00:", ex=100),
        lambda keys, key: keys.persist(key),
        lambda keys, key: (keys.delete(key), keys.lpush(key, "x"), keys.expire(key, 100)),
        lambda keys, key: (keys.delete(key), keys.hset(key, "a", "b")),
    ],
    ids=["garbage", "bad ciphertext", "bytes", "without an end", "list", "hash"],
)
def test_an_entry_that_is_not_ours_is_replaced_and_then_shared(
    new_store: Callable[..., TokenStore], keys: redis.Redis, mint: Mint, spoil: Callable[[redis.Redis, bytes], object]
) -> None:
    new_store().get(TENANT)
    (key,) = keys.scan_iter()
    spoil(keys, key)

    fresh = new_store().get(TENANT)

    assert fresh.minted
    assert new_store().get(TENANT).value == fresh.value
    assert mint.count == 2


@contextmanager
def mute_server() -> Iterator[str]:
    """Accept every connection and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@contextmanager
def nobody() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"redis://127.0.0.1:{port}/0"


@pytest.mark.parametrize("away", [nobody, mute_server], ids=["gone", "hanging"])
def test_without_redis_tokens_are_minted_once_by_each_process_and_kept(
    new_store: Callable[..., TokenStore], mint: Mint, away: Callable[[], Iterator[str]]
) -> None:
    with away() as url:  # type: ignore[attr-defined]
        store = new_store(url)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            tokens = set(threads.map(lambda _: store.get(TENANT).value, range(50)))
        store.reject(TENANT, "whatever")

        assert time.monotonic() - began < 20
        assert len(tokens) == 1
        assert mint.count == 1
        assert new_store(url).get("other").minted


def test_redis_that_comes_back_is_used_again(new_store: Callable[..., TokenStore], mint: Mint) -> None:
    with LocalValkey() as server:
        one, other = new_store(server.url), new_store(server.url)
        server.kill()
        assert one.get(TENANT).value != other.get(TENANT).value
        server.start()
        deadline = time.monotonic() + 20
        while one.get(f"after-{mint.count}").value != other.get(f"after-{mint.count - 1}").value:
            assert time.monotonic() < deadline


def test_secrets_are_not_shown_by_the_cache_s_errors(capsys: pytest.CaptureFixture[str]) -> None:
    cache = cache_at("redis://:hunter2@127.0.0.1:1/0")
    assert cache.get(TENANT) is None

    assert "hunter2" not in "".join(capsys.readouterr())
    assert "hunter2" not in repr(cache)
