"""Magic values of a case's `tag`, like the test cards of a payment provider.

  tag                       answer                                                     case taken?
  sandbox:status=NNN        that status with a plausible body (502-504: HTML page)     only for 2xx
  sandbox:html-200          200 with an HTML page                                      no
  sandbox:empty-200         200 with an empty body                                     yes
  sandbox:wrong-types       200 with {"id": 5, "reference": []}                        yes
  sandbox:truncated         200, but the connection closes half-way through the body   yes
  sandbox:huge              200 with a body of 20 MB                                   yes
  sandbox:drop-before       none: the connection is reset                              no
  sandbox:drop-after        none: the connection is reset, every time                  yes
  sandbox:drop-after-once   the same, but only the first time; a replay is answered    yes
  sandbox:hang              none: the connection stays silent                          no
  sandbox:slow=MS           the usual one, MS milliseconds late                        yes, when answered
  sandbox:NNN-once          that status to the first request, later the usual one      at the later one
  sandbox:problem           400 in the RFC 7807 form                                   no
  sandbox:legacy-error      400 {error, message, businessErrors: []}                   no
  sandbox:business=TYPE     422 with that type and a solutionUrl                       no

`401-once` and `409-once` are the useful ones of their kind. Where no case is taken, the answer is not stored under the
Idempotency-Key (that of `business` is). An unknown `sandbox:` tag is a field error, so that a typo does not pass as a
success. Other tags have no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.sandbox.messages import (
    GATEWAY_PAGE,
    HTML,
    PROBLEM,
    Delivery,
    Reply,
    api_error,
    dump,
    inflate,
    of_status,
    problem,
)

HELP = (__doc__ or "").strip()
"""The table above, for `--help`."""

PREFIX = "sandbox:"
MAX_SLOW_DIGITS = 7
PLAIN = frozenset(
    {
        "html-200", "empty-200", "wrong-types", "truncated", "huge", "drop-before", "drop-after",
        "drop-after-once", "hang", "problem", "legacy-error",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tag:
    """A magic tag: its name without the prefix, and the value after `=`."""

    name: str = ""
    value: str = ""

    @property
    def delay_seconds(self) -> float:
        """The delay that `slow` adds, in seconds."""
        return int(self.value) / 1000 if self.name == "slow" else 0.0

    @property
    def business_type(self) -> str | None:
        """The type of business error that `business` asks for."""
        return self.value if self.name == "business" else None


NO_TAG = Tag()


def parse(tag: object) -> Tag:
    """The magic tag in a case's `tag`; `NO_TAG` for any other value (rules.py reports invalid ones)."""
    if not isinstance(tag, str) or not tag.startswith(PREFIX):
        return NO_TAG
    name, equals, value = tag[len(PREFIX) :].partition("=")
    if not equals and name in PLAIN:
        return Tag(name)
    if not equals and name.endswith("-once") and _is_status(name[:-5], 300):
        return Tag("once", name[:-5])
    if name == "status" and _is_status(value, 200):
        return Tag(name, value)
    if name == "slow" and value.isascii() and value.isdigit() and len(value) <= MAX_SLOW_DIGITS:
        return Tag(name, value)
    return Tag(name, value) if name == "business" and value else NO_TAG


def _is_status(text: str, lowest: int) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit() and lowest <= int(text) <= 599


def complaint(tag: str) -> str | None:
    """The error for an invalid tag that looks like a magic one, or None."""
    if tag.startswith(PREFIX) and parse(tag) is NO_TAG:
        return f"Unknown sandbox tag '{tag}'; see case-worker sandbox --help."
    return None


def answer_instead(tag: Tag, *, first_time: bool) -> Reply | None:
    """The response of a tag that prevents the case; None if the request is processed as usual."""
    reply: Reply | None = None
    match tag.name:
        case "status" if not tag.value.startswith("2"):
            reply = of_status(int(tag.value))
        case "html-200":
            reply = Reply(200, GATEWAY_PAGE.replace(b"502 Bad Gateway", b"Welcome"), HTML)
        case "drop-before":
            reply = Reply(0, delivery=Delivery.RESET)
        case "hang":
            reply = Reply(0, delivery=Delivery.HANG)
        case "once" if first_time:
            reply = of_status(int(tag.value))
        case "problem":
            reply = Reply(400, problem(400, "Bad Request", "The sandbox was asked for a problem."), PROBLEM)
        case "legacy-error":
            reply = Reply(400, api_error("InvalidRequest", "The sandbox was asked for a legacy error."))
    return reply


def disguise(reply: Reply, tag: Tag, *, first_time: bool) -> Reply:
    """Alter the response to an accepted (or replayed) case as the tag requires."""
    match tag.name:
        case "status" if tag.value.startswith("2"):
            reply.status = int(tag.value)
        case "empty-200":
            reply.body = b""
        case "wrong-types":
            reply.body = dump({"id": 5, "reference": []})
        case "truncated":
            reply.delivery = Delivery.TRUNCATE
        case "huge":
            reply.body = inflate(reply.body)
        case "drop-after":
            reply.delivery = Delivery.RESET
        case "drop-after-once" if first_time:
            reply.delivery = Delivery.RESET
    return reply
