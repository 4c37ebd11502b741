"""The celery and kombu functions that the worker overrides haven't changed since the overrides were written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version

import pytest
from celery.worker import loops
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from kombu import Connection
from kombu.transport import redis, virtual
from kombu.utils.functional import retry_over_time
from prometheus_client import values

PINNED = {"celery": "5.7.0", "kombu": "5.7.0"}

#: The function, what of ours depends on it, and the digest of its source when that was written.
OVERRIDDEN: list[tuple[Callable[..., object], str, str]] = [
    (Consumer.create_task_handler, "worker/queue/consumer.py: CaseConsumer.create_task_handler", "292c5a681f10ade7"),
    (Consumer.on_decode_error, "worker/queue/consumer.py: CaseConsumer.on_decode_error", "e3538c586a7ffa75"),
    (Consumer.on_unknown_message, "worker/queue/consumer.py: CaseConsumer.on_unknown_message", "213bd3ee55cb5ca6"),
    (Consumer.on_unknown_task, "worker/queue/consumer.py: CaseConsumer.on_unknown_task", "35e6cbe564947a25"),
    (Consumer.on_invalid_task, "worker/queue/consumer.py: CaseConsumer.on_invalid_task", "9893e7a4eee33a33"),
    (Consumer.ensure_connected, "worker/queue/consumer.py: CaseConsumer.ensure_connected", "3f79cf3bb6d6da8c"),
    (Connection.ensure_connection, "worker/queue/consumer.py: CaseConsumer.ensure_connected", "6eadd030fa740ae6"),
    (
        Consumer.register_with_event_loop,
        "worker/queue/consumer.py: CaseConsumer.register_with_event_loop",
        "aacc1dedab420d4c",
    ),
    (
        Consumer.perform_pending_operations,
        "worker/queue/consumer.py: CaseConsumer.perform_pending_operations",
        "b41e677f42e78432",
    ),
    (
        loops.asynloop,
        "worker/queue/consumer.py: CaseConsumer.register_with_event_loop is called for each loop",
        "05a53e51998887ca",
    ),
    (retry_over_time, "worker/queue/consumer.py: a worker that waits for its broker calls back", "9bc1eb21fe894dd2"),
    (
        values.MultiProcessValue,
        "worker/telemetry/metrics/registry.py: how the values of several processes are kept",
        "8077cd2c482fc32e",
    ),
    (Consumer.on_ready, "worker/queue/consumer.py: CaseConsumer.on_ready", "16eff40603fe2678"),
    (Request.on_failure, "worker/queue/poison_messages.py: AcceptRequest.on_failure", "21736ec661cd60d7"),
    (redis.QoS.append, "worker/queue/redis_transport.py: what it writes is what kombu writes", "35c655f6ecc62fe6"),
    (redis.QoS.ack, "worker/queue/redis_transport.py: QoS.ack", "1bc15a4ddf541af6"),
    (redis.QoS.reject, "worker/queue/redis_transport.py: QoS.reject", "747a02434344d1a6"),
    (virtual.QoS.ack, "worker/queue/redis_transport.py: QoS.ack without a connection", "0714292b916fecb2"),
    (redis.QoS.restore_visible, "worker/queue/redis_transport.py: QoS.restore_visible", "d4a4a40a3eaf9f23"),
    (redis.QoS.restore_by_tag, "worker/queue/redis_transport.py: what it reads is what we write", "58e161d81b6fe18d"),
    (redis.Channel._brpop_start, "worker/queue/redis_transport.py: Channel._brpop_start", "06723d707ddf2240"),
    (redis.Channel._brpop_read, "worker/queue/redis_transport.py: Channel._brpop_read", "c42518699709f2df"),
    (redis.Channel._q_for_pri, "worker/queue/redis_transport.py: Channel._lists", "f3997660680dd00f"),
    (
        redis.MultiChannelPoller._register_BRPOP,
        "worker/queue/redis_transport.py: when _brpop_start is called",
        "85724582464a615f",
    ),
    (
        redis.MultiChannelPoller.maybe_check_brpop_health,
        "worker/queue/redis_transport.py: Channel._brpop_start",
        "0dc592e46353a0fc",
    ),
    (redis.Transport.register_with_event_loop, "worker/queue/redis_transport.py: Transport", "4b835642e4a99425"),
    (virtual.Channel.decode_body, "worker/queue/redis_transport.py: Channel._envelope", "6e7a0c347dd9121a"),
]


@pytest.mark.parametrize("package", PINNED)
def test_given_the_pinned_version_then_it_is_the_one_installed(package: str) -> None:
    assert version(package) == PINNED[package], f"review what is overridden in {package}, then pin the new version here"


@pytest.mark.parametrize(
    ("function", "ours", "digest"), OVERRIDDEN, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_given_an_overridden_function_when_its_source_changes_then_our_code_is_to_be_reviewed(
    function: Callable[..., object], ours: str, digest: str
) -> None:
    found = sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    assert found == digest, (
        f"{function.__module__}.{function.__qualname__} is no longer what {ours} was written against. Compare the two"
        f" versions, change ours if need be, run tests/faults, and then write {found!r} here."
    )
