"""Act in the browser: correct, replay, run a canary, cancel, discard, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.pipeline import Pipeline, refused
from worker.sandbox.server import SandboxServer

OpenPage = Callable[..., Page]
Start = Callable[[], None]


def test_a_case_is_corrected_at_the_field_that_was_refused(shop: Pipeline, page: Page, set_to_work: Start) -> None:
    debtor = {"type": "Company", "name": "Brdr. Holm", "countryAlpha2": "DK", "email": "not an address"}
    job = shop.submit(debtor=debtor)
    set_to_work()
    page.goto("/jobs")
    page.get_by_role("link", name="no reference").click()

    page.get_by_role("button", name="Correct and replay").click()
    field = page.get_by_label("debtor.email")
    expect(field).to_have_value("not an address")
    expect(field).to_have_accessible_description("Invalid email format")
    field.fill("post@holm.example")
    page.get_by_role("button", name="Save and replay").click()

    expect(page.get_by_role("heading", name="Corrections")).to_be_visible()
    while shop.job(job)["state"] != "submitted":
        page.reload()
    page.reload()
    expect(page.get_by_text("Submitted: case")).to_be_visible()
    expect(page.get_by_text("changed; both values are hidden")).to_be_visible()
    page.get_by_role("button", name="Reveal personal data").click()
    expect(page.locator("del")).to_contain_text("not an address")
    expect(page.locator("ins")).to_contain_text("post@holm.example")


def test_ticked_jobs_are_replayed_with_a_preview_live_progress_and_a_result(
    shop: Pipeline, page: Page, set_to_work: Start
) -> None:
    for number in range(3):
        shop.enqueue("missing-aurora", creditorReference=f"A-{number}")
    shop.run()
    set_to_work()
    page.goto("/jobs")
    expect(page.get_by_role("row")).to_have_count(4)
    expect(page.locator("[data-ticked]")).to_have_text("None ticked")
    page.get_by_label("Tick A-0").check()
    page.get_by_label("Tick A-2").check()
    expect(page.locator("[data-ticked]")).to_have_text("2 ticked")

    page.get_by_role("button", name="Replay ticked").click()
    expect(page.locator("[data-preview=jobs]")).to_have_text("2")
    expect(page.locator("[data-preview=tenants]")).to_have_text("1")
    expect(page.get_by_text("New key.")).to_be_visible()
    page.get_by_label("Note").fill("linked again")
    page.get_by_role("button", name="Replay 2 jobs").click()

    expect(page.locator("[data-state]")).to_have_text("done")
    expect(page.get_by_role("status")).to_have_text("Done.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the result").click()
    rows = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 3
    assert all("replayed" in row for row in rows[1:])
    page.get_by_role("link", name="Activity").first.click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("linked again")


def test_a_canary_stops_when_the_same_cause_comes_back(shop: Pipeline, page: Page, set_to_work: Start) -> None:
    refused(shop, 4)
    set_to_work()
    page.goto("/act?verb=replay&scope=filter&reason=validation")
    page.get_by_label("Canary").check()
    page.get_by_role("button", name="Replay 4 jobs").click()

    expect(page.locator("[data-state]")).to_have_text("stopped")
    expect(page.get_by_role("status")).to_contain_text("for the same cause again")
    expect(page.locator("[data-count=left]")).to_have_text("3")


def test_a_canary_that_lives_lets_the_rest_go(
    shop: Pipeline, sandbox_server: SandboxServer, page: Page, set_to_work: Start
) -> None:
    for number in range(8):
        shop.enqueue("missing-aurora", creditorReference=f"A-{number}")
    shop.run()
    set_to_work()
    sandbox_server.sandbox.state.links["missing-aurora"] = "ok"

    page.goto("/act?verb=replay&scope=filter&links=invalid")
    page.get_by_label("Canary").check()
    page.get_by_role("button", name="Replay 8 jobs").click()

    expect(page.locator("[data-state]")).to_have_text("done")
    expect(page.locator("[data-count=done]")).to_have_text("8")


def test_what_goes_on_can_be_cancelled(shop: Pipeline, page: Page) -> None:
    """Without a worker, the canary's first job waits for its turn."""
    refused(shop, 4)
    page.goto("/act?verb=replay&scope=filter")
    page.get_by_label("Canary").check()
    page.get_by_role("button", name="Replay 4 jobs").click()
    expect(page.locator("[data-count=done]")).to_have_text("1")
    expect(page.get_by_role("status")).to_contain_text("Canary: one job sent")
    step = page.get_by_role("listitem")
    expect(step.filter(has_text="One job")).to_have_attribute("aria-current", "step")
    shop.ledger.rows("UPDATE operations SET stage = 2")
    expect(step.filter(has_text="Five jobs")).to_have_attribute("aria-current", "step")
    expect(step.filter(has_text="One job")).to_have_class("past")

    page.get_by_role("button", name="Cancel the rest").click()

    expect(page.locator("[data-state]")).to_have_text("cancelled")
    expect(page.get_by_role("status")).to_contain_text("Cancelled by olga")


def test_discarding_needs_a_reason(shop: Pipeline, page: Page) -> None:
    refused(shop, 1)
    page.goto("/jobs")
    page.get_by_label("Tick acme-0").check()
    page.get_by_role("button", name="Discard ticked").click()
    expect(page.get_by_text("Discarding is final")).to_be_visible()

    page.get_by_role("button", name="Discard 1 job").click()
    expect(page.get_by_label("Why do you discard it?")).to_be_focused()
    page.get_by_label("Why do you discard it?").fill("the debtor has paid")
    page.get_by_role("button", name="Discard 1 job").click()

    expect(page.locator("[data-state]")).to_have_text("done")
    page.goto("/")
    expect(page.get_by_text("Nothing needs you")).to_be_visible()


def test_a_view_is_exported_as_it_is_filtered(shop: Pipeline, page: Page) -> None:
    refused(shop, 2, "acme")
    refused(shop, 1, "bell")
    page.goto("/jobs?tenant=bell")

    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()

    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert "bell-0" in lines[1]


def test_a_viewer_looks_and_does_not_act(shop: Pipeline, open_page: OpenPage) -> None:
    job = shop.submit(currencyCode="?", creditorReference="V-1")
    page = open_page("victor")
    for path in ("/", "/jobs", f"/jobs/{job}", "/links"):
        page.goto(path)
        for name in ("Replay", "Discard", "Reveal", "Correct"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
            expect(page.get_by_role("link", name=name)).to_have_count(0)
        expect(page.get_by_role("checkbox")).to_have_count(0)

    page.goto("/act?verb=replay&scope=filter")
    expect(page.get_by_role("heading", name="This is for operators")).to_be_visible()


def test_all_of_it_works_without_script(shop: Pipeline, open_page: OpenPage, set_to_work: Start) -> None:
    shop.submit("missing-aurora", creditorReference="A-0")
    set_to_work()
    page = open_page("olga", java_script_enabled=False)
    page.goto("/jobs")
    page.get_by_label("Tick A-0").check()
    page.get_by_role("button", name="Replay ticked").click()
    page.get_by_role("button", name="Replay 1 job").click()

    expect(page.locator("[data-state]")).to_have_text("done")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
