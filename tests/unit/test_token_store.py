"""When the token store uses or mints a token, with an in-memory cache and a fake clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.at_once import at_once
from tests.support.token_doubles import Clock, MemoryCache, Mint
from worker.debitura.tokens import (
    EXPIRY_MARGIN,
    MEMORY_SECONDS,
    Rejected,
    TokenStore,
    usable_seconds,
)
from worker.errors import ClientLinkNotFound, MintUnavailable


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> MemoryCache:
    return MemoryCache(clock)


@pytest.fixture
def mint() -> Mint:
    return Mint()


@pytest.fixture
def new_store(mint: Mint, cache: MemoryCache, clock: Clock) -> Callable[[], TokenStore]:
    return lambda: TokenStore(mint, cache, longest_mint=25.0, clock=clock, sleep=clock.sleep)


def test_a_token_is_minted_once_and_shared_by_all_processes(new_store: Callable[[], TokenStore], mint: Mint) -> None:
    one, other = new_store(), new_store()

    first, second = one.get("acme"), other.get("acme")

    assert first.value == second.value
    assert (first.minted, second.minted) == (True, False)
    assert mint.tenants == ["acme"]


def test_each_tenant_has_a_token_of_its_own(new_store: Callable[[], TokenStore], mint: Mint) -> None:
    store = new_store()
    assert store.get("acme").value != store.get("Acme").value
    assert mint.tenants == ["acme", "Acme"]


def test_a_token_seen_lately_costs_no_look_into_the_cache(
    new_store: Callable[[], TokenStore], cache: MemoryCache, clock: Clock
) -> None:
    store = new_store()
    store.get("acme")
    reads = cache.reads

    clock.now += MEMORY_SECONDS - 0.1
    assert store.get("acme").minted is False
    assert cache.reads == reads
    clock.now += 0.2
    store.get("acme")
    assert cache.reads == reads + 1


@pytest.mark.parametrize("from_memory_of_this_process", [True, False])
def test_a_token_is_not_used_in_the_last_minute_of_its_life(
    new_store: Callable[[], TokenStore], mint: Mint, clock: Clock, from_memory_of_this_process: bool
) -> None:
    store = new_store()
    store.get("acme")
    user = store if from_memory_of_this_process else new_store()

    clock.now += 1800 - EXPIRY_MARGIN - 1
    assert user.get("acme").value == "acme-token-1"
    clock.now += 1.5
    assert user.get("acme").value == "acme-token-2"


@pytest.mark.parametrize(("lifetime", "used"), [(1800, 1740), (120, 60), (100, 50), (10, 5), (1, 0.5)])
def test_a_short_lived_token_is_used_for_at_least_half_of_its_life(lifetime: float, used: float) -> None:
    assert usable_seconds(lifetime) == used


def test_a_refused_token_is_forgotten_here_and_in_the_cache(
    new_store: Callable[[], TokenStore], clock: Clock, cache: MemoryCache
) -> None:
    store = new_store()
    refused = store.get("acme")
    clock.now += 1

    store.reject("acme", refused.fingerprint)

    assert "acme" not in cache.entries
    assert store.get("acme", rejected=Rejected(refused.fingerprint, 1.0)).value == "acme-token-2"


def test_a_token_that_has_replaced_the_refused_one_stays(
    new_store: Callable[[], TokenStore], clock: Clock, mint: Mint
) -> None:
    quick, late = new_store(), new_store()
    refused = quick.get("acme")
    late.get("acme")
    clock.now += 10
    quick.reject("acme", refused.fingerprint)
    clock.now += 0.1
    fresh = quick.get("acme", rejected=Rejected(refused.fingerprint, 5.0))

    late.reject("acme", refused.fingerprint)

    assert late.get("acme", rejected=Rejected(refused.fingerprint, 5.0)).value == fresh.value
    assert len(mint.tenants) == 2


def test_after_a_401_a_token_minted_before_that_request_left_will_not_do(
    new_store: Callable[[], TokenStore], clock: Clock, mint: Mint
) -> None:
    """A second 401 is to prove that the client link is invalid; an older token's would prove nothing."""
    store = new_store()
    store.get("acme")
    clock.now += 10

    token = store.get("acme", rejected=Rejected("some older token", sent_ago=5.0))

    assert token.minted
    assert len(mint.tenants) == 2


def test_after_a_401_the_refused_token_will_not_do_even_if_it_is_young(
    new_store: Callable[[], TokenStore], clock: Clock
) -> None:
    store = new_store()
    refused = store.get("acme")
    clock.now += 1

    assert store.get("acme", rejected=Rejected(refused.fingerprint, sent_ago=100.0)).minted


def test_a_token_minted_while_the_refused_request_was_under_way_will_do(
    new_store: Callable[[], TokenStore], clock: Clock, mint: Mint
) -> None:
    store = new_store()
    store.get("acme")
    clock.now += 10

    assert store.get("acme", rejected=Rejected("an older token", sent_ago=11.0)).value == "acme-token-1"
    assert len(mint.tenants) == 1


def test_whoever_gets_the_lock_looks_into_the_cache_once_more(
    new_store: Callable[[], TokenStore], cache: MemoryCache, mint: Mint
) -> None:
    def somebody_is_quicker() -> None:
        cache.put("acme", "theirs", "fp", 1740, None)

    cache.on_lock = somebody_is_quicker

    assert new_store().get("acme").value == "theirs"
    assert mint.tenants == []
    assert cache.locks == {}, "the lock was let go"


def test_a_lock_whose_holder_died_is_waited_for_and_then_taken(
    new_store: Callable[[], TokenStore], cache: MemoryCache, clock: Clock, mint: Mint
) -> None:
    cache.locks["acme"] = "the dead one's"
    looks = iter(range(100))

    def expire() -> None:
        if next(looks) == 20:
            cache.locks.clear()

    cache.on_lock = expire

    assert new_store().get("acme").minted
    assert clock.now < 1000 + 25


def test_a_lock_that_never_comes_free_is_trouble_for_later(
    new_store: Callable[[], TokenStore], cache: MemoryCache, mint: Mint
) -> None:
    cache.locks["acme"] = "a stuck one's"
    with pytest.raises(MintUnavailable, match="another worker"):
        new_store().get("acme")

    assert mint.tenants == []


def test_a_failed_mint_lets_go_of_the_lock(new_store: Callable[[], TokenStore], cache: MemoryCache, mint: Mint) -> None:
    store = new_store()
    mint.error = ClientLinkNotFound("none")
    with pytest.raises(ClientLinkNotFound):
        store.get("acme")

    mint.error = None
    assert cache.locks == {}
    assert store.get("acme").minted


def test_without_the_cache_a_process_mints_once_for_the_token_s_whole_life(
    new_store: Callable[[], TokenStore], cache: MemoryCache, clock: Clock, mint: Mint
) -> None:
    """Every couple of seconds Redis is tried again; a failed try must not cost a mint."""
    cache.away = True
    store = new_store()
    store.get("acme")

    for _ in range(100):
        clock.now += 10
        cache.rests = False  # its rest is over, and it looks reachable until somebody asks
        assert store.get("acme").value == "acme-token-1"
    assert len(mint.tenants) == 1
    clock.now += 1000
    assert store.get("acme").value == "acme-token-2"


def test_a_cache_that_goes_away_later_does_not_cost_a_mint_either(
    new_store: Callable[[], TokenStore], cache: MemoryCache, clock: Clock, mint: Mint
) -> None:
    store = new_store()
    store.get("acme")
    clock.now += 100
    cache.away = True

    assert store.get("acme").value == "acme-token-1"
    assert len(mint.tenants) == 1


def test_many_threads_of_one_process_mint_once(mint: Mint) -> None:
    cache = MemoryCache(Clock())
    store = TokenStore(mint, cache, longest_mint=25.0)

    def get(_: int) -> str:
        return store.get("acme").value

    assert set(at_once(16, get)) == {"acme-token-1"}
    assert store.mints == 1


def test_a_token_does_not_show_itself() -> None:
    token = TokenStore(Mint(), MemoryCache(Clock()), longest_mint=1).get("acme")

    assert token.value not in repr(token)
    assert token.fingerprint in repr(token)
    assert len(token.fingerprint) == 16
