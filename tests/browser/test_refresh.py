"""Live updates keep the reader's scroll position and keyboard focus."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.support.pipeline import Pipeline, refused
from worker.ledger.database import transaction
from worker.ledger.writer.operations import cancel
from worker.ledger.writer.resolve import Actor

OpenPage = Callable[..., Page]
PHONE = {"width": 390, "height": 500}
#: Where on the screen the thing in focus is.
TOP = "document.activeElement.getBoundingClientRect().top"


def test_a_job_s_page_that_is_loaded_anew_stays_where_its_reader_is(shop: Pipeline, open_page: OpenPage) -> None:
    job = shop.enqueue("acme", currencyCode="?", creditorReference="R-1")
    page = open_page(viewport=PHONE)
    page.goto(f"/jobs/{job}")
    reveal = page.get_by_role("button", name="Reveal personal data")
    reveal.focus()
    before = page.evaluate(TOP)

    shop.run()

    expect(page.get_by_role("heading", name="Case data rejected")).to_be_attached()
    expect(reveal).to_be_focused()
    page.wait_for_function(f"Math.abs({TOP} - {before}) < 3")


def test_progress_is_told_in_place_and_its_end_does_not_send_the_keyboard_to_the_top(
    shop: Pipeline, page: Page
) -> None:
    refused(shop, 2)
    page.goto("/act?verb=replay&scope=filter")
    page.get_by_label("Canary").check()
    page.get_by_role("button", name="Replay 2 jobs").click()
    expect(page.locator("[data-count=done]")).to_have_text("1")
    stop = page.get_by_role("button", name="Cancel the rest")
    stop.focus()
    page.evaluate("window.stillThere = true")

    shop.ledger.rows("UPDATE operations SET stage = 2")
    step = page.get_by_role("listitem").filter(has_text="Five jobs")
    expect(step).to_have_attribute("aria-current", "step")
    assert page.evaluate("window.stillThere")
    expect(stop).to_be_focused()

    with transaction(shop.engine) as connection:
        cancel(connection, shop.ledger.value("SELECT id FROM operations"), Actor("bob"), {"door": "test"})
    expect(page.locator("[data-state]")).to_have_text("cancelled")
    expect(page.locator("#content")).to_be_focused()
