"""Taking a message off a Redis list without a moment in which nobody has it.

Kombu 5.7.0 takes a message with BRPOP and then writes down, with another command, that it is being worked on. A worker
that dies between the two, or whose connection breaks, takes the message with it. Here the server does both in one step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

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
