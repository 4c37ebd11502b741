"""Kombu's Redis transport, made to keep what it can't parse and to survive the end of its own connection.

Kombu 5.7.0 takes a message with BRPOP and then notes with another command that it is in progress. A worker that dies
between the two, or whose connection breaks, loses the message. Here the server does both in one step.

Overrides internals of kombu 5.7.0, which is pinned; a test fails when they change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from queue import Empty
from time import monotonic
from typing import Any

import structlog
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from worker.case.protection import UNPROTECTED, Protection
from worker.queue.app import SUBMIT
from worker.queue.malformed_messages import DeadLetterSink, capped

log = structlog.get_logger(__name__)


#: Messages brought back from dead workers in one sweep at most.
RESTORED_AT_ONCE = 1000
#: Seconds between two such sweeps.
RESTORE_EVERY = 2.0
#: Seconds between two looks at the lists that are not waited on.
LOOK_EVERY = 0.05
#: Nobody writes to this list: waiting on it is a pause.
NO_LIST = "case-worker:no-list"


class QoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Acks and rejects that do not fail on a connection which is gone.

    kombu 5.7.0 raises AttributeError there and the worker exits. The entry simply stays among the unacked ones: it
    comes back after the visibility timeout, and the ledger knows it already.
    """

    def ack(self, delivery_tag: str) -> None:
        """Forget the message, if there is still a connection to say so on."""
        if self._connected():
            super().ack(delivery_tag)
        else:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Drop or requeue the message, if there is still a connection to say so on."""
        if self._connected():
            super().reject(delivery_tag, requeue=requeue)
        else:
            virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, start: int = 0, num: int = RESTORED_AT_ONCE, interval: int = 1) -> None:  # noqa: ARG002
        """Bring back what dead workers held, each time that it is asked for instead of each tenth time."""
        super().restore_visible(start, RESTORED_AT_ONCE, 1)

    def _connected(self) -> bool:
        connection = self.channel.connection
        return connection is not None and connection.client is not None


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that loses no message when its worker dies, and keeps entries that are no messages.

    Two commands take turns: a look that takes a message of any list but `cases.submit`'s in one step (`redis_take`),
    and kombu's BRPOP for a short while on `cases.submit`, whose ids the ledger gives out again should one be lost.
    """

    QoS = QoS
    #: Closing a channel does not requeue what is being worked on: a blip of the connection would run it twice.
    do_restore = False
    #: Set by `make_transport`.
    sink: DeadLetterSink
    _command = "BRPOP"

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        """Ask for the next entry: a look at the lists that are taken from in one step, then a wait on the others."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        safely = self._lists(queue for queue in queues if queue != SUBMIT)
        connection = self.client.connection
        if safely and self._command != "EVAL":
            self._command = "EVAL"
            command = take_command(safely, unacked=self.unacked_key, index=self.unacked_index_key)
        else:
            self._command = "BRPOP"
            waited_on = self._lists(queue for queue in queues if queue == SUBMIT) or [NO_LIST]
            command = ["BRPOP", *waited_on, LOOK_EVERY if safely else self.brpop_timeout]
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        connection.send_command(*command)

    def _lists(self, queues: Iterable[str]) -> list[str]:
        names = list(queues)
        return [self._q_for_pri(queue, step) for step in self.priority_steps for queue in names]

    def _brpop_read(self, **options: Any) -> bool:
        """Read one entry and deliver it; kombu's own, with a check in between."""
        try:
            try:
                popped = self.client.parse_response(self.client.connection, self._command, **options)
            except self.connection_errors:
                # The next look then connects again.
                self.client.connection.disconnect()
                raise
            if not popped:
                raise Empty
            list_name, entry = popped
            queue = bytes_to_str(list_name).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            try:
                message = self._envelope(entry)
            except Exception as error:  # noqa: BLE001 - whatever is in there, it is kept
                self._keep(bytes_to_str(list_name), queue, entry, error)
                return True
            self.connection._deliver(message, queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _envelope(self, entry: bytes) -> dict[str, Any]:
        """The entry as kombu's message dictionary. Raises anything at all for one that kombu could not handle."""
        message: dict[str, Any] = loads(bytes_to_str(entry))
        properties = message["properties"]
        if not isinstance(message["headers"], dict) or not isinstance(properties["delivery_tag"], str):
            raise TypeError("headers or delivery_tag are of the wrong type")
        properties["delivery_info"]["exchange"], properties["delivery_info"]["routing_key"]
        self.decode_body(message.get("body"), properties.get("body_encoding"))
        return message

    def _keep(self, list_name: str, queue: str, entry: bytes, error: Exception) -> None:
        problem = f"the broker's entry is not a Celery message: {type(error).__name__}: {error}"
        kept = self.sink.keep(problem=problem, sent=capped(entry), queue=queue)
        with self.conn_or_acquire() as client:
            if not kept:
                client.lpush(list_name, entry)
            if (tag := _tag_in(entry)) is not None:
                # It may have been noted as being worked on when it was taken; there it would come back for ever.
                client.zrem(self.unacked_index_key, tag)
                client.hdel(self.unacked_key, tag)


def _tag_in(entry: bytes) -> str | None:
    try:
        tag = loads(bytes_to_str(entry))["properties"]["delivery_tag"]
    except Exception:  # noqa: BLE001 - the entry may be anything; then nothing was noted under a tag either
        return None
    return tag if isinstance(tag, str) else None


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu has no types
    """A transport that looks for dead workers' messages more often than every ten seconds."""

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Kombu's timers, and one more."""
        super().register_with_event_loop(connection, loop)
        loop.call_repeatedly(RESTORE_EVERY, self.cycle.maybe_restore_messages)


def make_transport(database_url: str, protection: Protection = UNPROTECTED) -> type:
    """The transport class whose channels keep unreadable entries in that ledger."""
    channel = type("KeepingChannel", (Channel,), {"sink": DeadLetterSink(database_url, protection)})
    return type("KeepingTransport", (Transport,), {"Channel": channel})


#: Pops the first entry of the lists KEYS[3…] and notes it among the unacked ones (KEYS[1] the hash, KEYS[2] its index
#: by time), in kombu's own form: `[message, exchange, routing key]`. ARGV[1]: now. An entry that is no message is only
#: popped; the reader keeps it in the ledger.
_TAKE = """
for i = 3, #KEYS do
    local entry = redis.call('RPOP', KEYS[i])
    if entry then
        local readable, message = pcall(cjson.decode, entry)
        readable, message = pcall(function ()
            local properties = message.properties
            local info = properties.delivery_info
            assert(readable and type(properties.delivery_tag) == 'string')
            return { properties.delivery_tag, cjson.encode(info.exchange), cjson.encode(info.routing_key) }
        end)
        if readable then
            redis.call('ZADD', KEYS[2], ARGV[1], message[1])
            redis.call('HSET', KEYS[1], message[1], '[' .. entry .. ',' .. message[2] .. ',' .. message[3] .. ']')
        end
        return { KEYS[i], entry }
    end
end
return false
"""


def take_command(lists: Sequence[str], *, unacked: str, index: str) -> list[object]:
    """The command that takes one entry off the first of the lists that has any. Answers [list, entry], or nothing."""
    # The worker's own clock, like kombu's: it is compared with the clock of whoever brings messages back.
    return ["EVAL", _TAKE, len(lists) + 2, unacked, index, *lists, time.time()]
