"""Kombu's Redis transport, made to keep what it cannot parse and to survive its own connection's end.

Overrides internals of kombu 5.7.0, which is pinned; a test fails when they change.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

import structlog
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from worker.queue.unreadable import Keeper, capped

log = structlog.get_logger(__name__)

#: Messages brought back from dead workers in one sweep at most.
RESTORED_AT_ONCE = 1000


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
        """Bring back what dead workers held, each time that kombu asks (10 s) instead of each tenth time."""
        super().restore_visible(start, RESTORED_AT_ONCE, 1)

    def _connected(self) -> bool:
        connection = self.channel.connection
        return connection is not None and connection.client is not None


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel whose reader keeps entries that are no messages, in place of dying of them."""

    QoS = QoS
    #: Closing a channel does not requeue what is being worked on: a blip of the connection would run it twice.
    do_restore = False
    #: Set by `make_transport`.
    keeper: Keeper

    def _brpop_read(self, **options: Any) -> bool:
        """Read one entry and deliver it; kombu's own, with a check in between."""
        try:
            try:
                popped = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                # The next look then connects anew.
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
        if not self.keeper.keep(problem=problem, sent=capped(entry), queue=queue):
            with self.conn_or_acquire() as client:
                client.lpush(list_name, entry)


def make_transport(database_url: str) -> type:
    """The transport class whose channels keep unreadable entries in that ledger."""
    channel = type("KeepingChannel", (Channel,), {"keeper": Keeper(database_url)})
    return type("KeepingTransport", (kombu_redis.Transport,), {"Channel": channel})
