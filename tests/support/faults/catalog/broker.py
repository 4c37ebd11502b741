"""Faults of the broker: lost data, outages, refusals, silence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import redis
from local_servers import free_port

from tests.support.faults.catalog import Fault, Strike

#: Seconds; longer than the socket timeout after which a worker notices a silent broker.
SILENCE = 7.0


@contextlib.contextmanager
def _inside(strike: Strike) -> Iterator[redis.Redis]:
    client = strike.stage.valkey.client()
    try:
        yield client
    finally:
        client.close()


def flushall(strike: Strike) -> None:
    """Everything on the broker and in the token cache is gone at once."""
    with _inside(strike) as client:
        client.flushall()


def restarted(strike: Strike) -> None:
    """Killed and started again: a Valkey comes back empty."""
    strike.stage.broker.kill()
    strike.stage.broker.restart()


def away(strike: Strike) -> None:
    """Gone for a while."""
    strike.stage.broker.kill()
    time.sleep(strike.away)
    strike.stage.broker.restart()


def out_of_memory(strike: Strike) -> None:
    """It answers, but accepts no writes."""
    with _inside(strike) as client:
        client.config_set("maxmemory", "1")
        time.sleep(strike.away)
        client.config_set("maxmemory", "0")


def demoted(strike: Strike) -> None:
    """A failover makes it a replica: it refuses writes and disconnects blocked clients."""
    with _inside(strike) as client:
        client.replicaof("127.0.0.1", str(free_port()))
        time.sleep(strike.away)
        client.replicaof("NO", "ONE")


def connections_cut(strike: Strike) -> None:
    """All connections are reset, three times."""
    for _ in range(3):
        strike.stage.broker_proxy.cut()
        time.sleep(0.3)


def replies_lost(strike: Strike) -> None:
    """Commands are executed, but connections break before the answer arrives."""
    strike.stage.broker_proxy.replies_to_lose = 10
    time.sleep(1.5)
    strike.stage.broker_proxy.heal()


def frozen_half_open(strike: Strike) -> None:
    """Connections stay open but lose all data silently."""
    strike.stage.broker_proxy.freeze(new_too=True)
    time.sleep(SILENCE)
    strike.stage.broker_proxy.heal()


def same_ids_many_times(strike: Strike) -> None:
    """The same ids are on the queue over and over."""
    ids = [row[0] for row in strike.stage.rows("SELECT id FROM jobs ORDER BY created_at DESC LIMIT 20")]
    for _ in range(10):
        with contextlib.suppress(Exception):
            strike.stage.publish_ids(ids)


FAULTS = (
    Fault("flushall", "broker", flushall, broker_forgets=True),
    Fault("broker_restarted", "broker", restarted, broker_forgets=True),
    Fault("broker_away", "broker", away, broker_forgets=True),
    Fault("broker_out_of_memory", "broker", out_of_memory),
    Fault("broker_demoted", "broker", demoted),
    Fault("broker_connections_cut", "broker", connections_cut),
    Fault("broker_replies_lost", "broker", replies_lost),
    Fault("broker_frozen_half_open", "broker", frozen_half_open),
    Fault("same_ids_many_times", "broker", same_ids_many_times),
)
#: The same for RabbitMQ, whose queues survive it: senders need not send again.
AMQP_FAULTS = (
    Fault("broker_restarted", "broker", restarted),
    Fault("broker_away", "broker", away),
    Fault("broker_connections_cut", "broker", connections_cut),
    Fault("same_ids_many_times", "broker", same_ids_many_times),
)
