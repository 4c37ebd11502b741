"""Kombu's Redis transport with an atomic pop, which stores unparsable entries and survives lost connections.

Kombu 5.7.0 pops a message with BRPOP and marks it as unacked with a second command. A worker that dies between the two,
or loses its connection, loses the message. Here a script does both atomically.

Overrides internals of kombu 5.7.0, which is pinned; a test fails if they change.
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
from worker.queue.malformed_messages import DeadLetterSink, truncated

log = structlog.get_logger(__name__)


#: Messages restored from dead workers in one sweep at most.
MAX_RESTORED = 1000
#: Seconds between two such sweeps.
RESTORE_SECONDS = 2.0
#: Seconds between two polls of the lists that are not waited on.
POLL_SECONDS = 0.05
#: A list that stays empty: waiting on it is a pause.
EMPTY_LIST = "case-worker:no-list"


class QoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Acks and rejects that do not fail on a lost connection.

    kombu 5.7.0 raises AttributeError there, and the worker exits. Here the entry stays unacked: it is redelivered after
    the visibility timeout, and the ledger recognizes it.
    """

    def ack(self, delivery_tag: str) -> None:
        """Ack the message if the connection still exists."""
        if self._connected():
            super().ack(delivery_tag)
        else:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Drop or requeue the message if the connection still exists."""
        if self._connected():
            super().reject(delivery_tag, requeue=requeue)
        else:
            virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, start: int = 0, num: int = MAX_RESTORED, interval: int = 1) -> None:  # noqa: ARG002
        """Restore messages of dead workers on each call, not only on every tenth."""
        super().restore_visible(start, MAX_RESTORED, 1)

    def _connected(self) -> bool:
        connection = self.channel.connection
        return connection is not None and connection.client is not None


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that loses no message when its worker dies, and stores entries that are not messages.

    It alternates two commands: an atomic pop from all lists except `cases.submit` (`pop_command`), and kombu's BRPOP
    with a short timeout on `cases.submit`, whose ids the ledger publishes again if one is lost.
    """

    QoS = QoS
    #: Don't requeue running messages when a channel closes: a short connection loss would run them twice.
    do_restore = False
    #: Set by `make_transport`.
    sink: DeadLetterSink
    _command = "BRPOP"

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        """Request the next entry: first an atomic pop, then a wait on the other lists."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        atomic = self._lists(queue for queue in queues if queue != SUBMIT)
        connection = self.client.connection
        if atomic and self._command != "EVAL":
            self._command = "EVAL"
            command = pop_command(atomic, unacked=self.unacked_key, index=self.unacked_index_key)
        else:
            self._command = "BRPOP"
            waited_on = self._lists(queue for queue in queues if queue == SUBMIT) or [EMPTY_LIST]
            command = ["BRPOP", *waited_on, POLL_SECONDS if atomic else self.brpop_timeout]
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        connection.send_command(*command)

    def _lists(self, queues: Iterable[str]) -> list[str]:
        names = list(queues)
        return [self._q_for_pri(queue, step) for step in self.priority_steps for queue in names]

    def _brpop_read(self, **options: Any) -> bool:
        """Read, check and deliver one entry; based on kombu's method."""
        try:
            try:
                popped = self.client.parse_response(self.client.connection, self._command, **options)
            except self.connection_errors:
                # The next poll reconnects.
                self.client.connection.disconnect()
                raise
            if not popped:
                raise Empty
            list_name, entry = popped
            queue = bytes_to_str(list_name).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            try:
                message = self._envelope(entry)
            except Exception as error:  # noqa: BLE001 - the entry may be anything; store it
                self._store_or_push_back(bytes_to_str(list_name), queue, entry, error)
                return True
            self.connection._deliver(message, queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _envelope(self, entry: bytes) -> dict[str, Any]:
        """Parse the entry as kombu's message dictionary. Raises any exception if kombu could not handle it."""
        message: dict[str, Any] = loads(bytes_to_str(entry))
        properties = message["properties"]
        if not isinstance(message["headers"], dict) or not isinstance(properties["delivery_tag"], str):
            raise TypeError("headers or delivery_tag have the wrong type")
        properties["delivery_info"]["exchange"], properties["delivery_info"]["routing_key"]
        self.decode_body(message.get("body"), properties.get("body_encoding"))
        return message

    def _store_or_push_back(self, list_name: str, queue: str, entry: bytes, error: Exception) -> None:
        problem = f"the broker's entry is not a Celery message: {type(error).__name__}: {error}"
        stored = self.sink.store(problem=problem, sent=truncated(entry), queue=queue)
        with self.conn_or_acquire() as client:
            if not stored:
                client.lpush(list_name, entry)
            if (tag := _tag_in(entry)) is not None:
                # The pop may have marked it as unacked; without this it would be redelivered forever.
                client.zrem(self.unacked_index_key, tag)
                client.hdel(self.unacked_key, tag)


def _tag_in(entry: bytes) -> str | None:
    try:
        tag = loads(bytes_to_str(entry))["properties"]["delivery_tag"]
    except Exception:  # noqa: BLE001 - not a message, so it has no tag and was not marked
        return None
    return tag if isinstance(tag, str) else None


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu has no types
    """A transport that restores dead workers' messages more often than every ten seconds."""

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Register kombu's timers, and one that restores messages."""
        super().register_with_event_loop(connection, loop)
        loop.call_repeatedly(RESTORE_SECONDS, self.cycle.maybe_restore_messages)


def make_transport(database_url: str, protection: Protection = UNPROTECTED) -> type:
    """A transport class whose channels store unreadable entries in this ledger."""
    channel = type("LedgerChannel", (Channel,), {"sink": DeadLetterSink(database_url, protection)})
    return type("LedgerTransport", (Transport,), {"Channel": channel})


#: Pop the first entry of the lists KEYS[3…] and mark it as unacked (KEYS[1] the hash, KEYS[2] its index by time) in
#: kombu's format: `[message, exchange, routing key]`. ARGV[1]: now. An entry that is not a message is only popped; the
#: caller stores it in the ledger.
_POP = """
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


def pop_command(lists: Sequence[str], *, unacked: str, index: str) -> list[object]:
    """The command that pops one entry from the first non-empty list. Replies [list, entry], or nothing."""
    # The worker's clock, like in kombu: workers that restore messages compare it with their own.
    return ["EVAL", _POP, len(lists) + 2, unacked, index, *lists, time.time()]
