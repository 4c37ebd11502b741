"""Verifying an audit chain finds every kind of change and its place, without a database."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.queries.audit import Head, Link
from worker.privacy.audit import START, ChainCheck


def chain(length: int) -> list[Link]:
    made, before = [], START
    for place in range(1, length + 1):
        text = f"[{place}]"
        before = sha256(before + text.encode()).digest()
        made.append(Link(place, place * 10, before, text))
    return made


def walked(
    links: list[Link], head: Head, *, expected: bytes | None = None, slipped_in: tuple[int, ...] = ()
) -> ChainCheck:
    walk = ChainCheck(expected=expected)
    for link in links:
        walk.step(link)
    walk.end(head, list(slipped_in))
    return walk


def head_of(links: list[Link]) -> Head:
    return Head(len(links), links[-1].hash if links else START)


@given(st.integers(0, 12), st.data())
def test_a_whole_chain_has_no_problem_and_every_head_it_had_is_in_it(length: int, data: st.DataObject) -> None:
    links = chain(length)
    place = data.draw(st.integers(0, length))
    expected = links[place - 1].hash if place else START

    walk = walked(links, head_of(links), expected=expected)

    assert (walk.problems, walk.met_at) == ([], place)


@given(st.integers(1, 12), st.data())
def test_any_one_change_is_found(length: int, data: st.DataObject) -> None:
    links = chain(length)
    head, place = head_of(links), data.draw(st.integers(0, length - 1))
    link = links[place]
    what = data.draw(st.sampled_from(["altered", "rehashed", "emptied", "cut out"]))
    changed = {
        "altered": [replace(link, text="[0]")],
        "rehashed": [replace(link, hash=bytes(31) + b"\x01")],
        "emptied": [replace(link, text=None)],
        "cut out": [],
    }[what]

    walk = walked([*links[:place], *changed, *links[place + 1 :]], head)

    assert walk.problems


def test_each_problem_says_where_it_is() -> None:
    links = chain(6)
    head = head_of(links)
    links[1] = replace(links[1], text="[x]")
    links[3] = replace(links[3], text=None)

    problems = walked(links, head, slipped_in=(99,)).problems

    assert problems == [
        "entry 20 (place 2) was altered, or its hash was",
        "entry 40 (place 4) was taken out",
        "entry 99 is not in the chain: it was slipped in",
    ]
    assert walked([*links[:2], *links[4:]], head).problems[1:] == ["places 3 to 4 are missing from the chain"]


def test_a_chain_that_was_cut_and_mended_is_found_by_the_head_that_was_kept_elsewhere() -> None:
    links = chain(6)

    walk = walked(links[:4], head_of(links[:4]), expected=links[5].hash)

    assert len(walk.problems) == 1
    assert "the head that you expect is nowhere in the chain" in walk.problems[0]
    assert "should end at place 6" in walked(links[:4], head_of(links)).problems[0]
