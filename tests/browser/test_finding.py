"""Find stuck jobs in the browser: sign in, causes, filters, client links, one job."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.support.pipeline import Pipeline
from worker.sandbox.server import SandboxServer

OpenPage = Callable[..., Page]


def test_signing_in_takes_the_right_password_and_can_be_done_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page(None)
    page.goto("/jobs?tenant=acme")
    expect(page.get_by_label("Name")).to_be_focused()

    page.keyboard.type("olga")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"/jobs\?tenant=acme$"))
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_causes_come_first_with_what_to_do_and_lead_to_their_jobs(shop: Pipeline, page: Page) -> None:
    for number in range(3):
        shop.enqueue("acme", tag="sandbox:business=MissingKycVerification", creditorReference=f"K-{number}")
    shop.enqueue("bell", currencyCode="?", creditorReference="V-1", amountToRecover=100)
    shop.run()

    page.goto("/")
    expect(page.locator("[data-tile=open]")).to_have_text("4")
    cause = page.get_by_role("article").first
    expect(cause).to_contain_text("Client's identity not verified")
    expect(cause).to_contain_text("have the client do it at the link, then replay")
    expect(cause).to_contain_text("3,751.50")
    expect(cause.get_by_role("img")).to_have_accessible_name(re.compile("^3 failures in"))
    solution = cause.get_by_role("link", name="Open the page that resolves it")
    assert solution.get_attribute("rel") == "noopener noreferrer"
    assert (solution.get_attribute("href") or "").startswith("https://")

    cause.get_by_role("link", name="Show 3 jobs").click()
    expect(page.get_by_role("row")).to_have_count(4)
    page.get_by_role("link", name="K-1").click()
    expect(page.get_by_role("heading", name="K-1")).to_be_visible()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()


def test_a_filter_stands_in_the_address_and_shows_the_same_to_a_colleague(
    shop: Pipeline, open_page: OpenPage, page: Page
) -> None:
    shop.enqueue("acme", currencyCode="?", creditorReference="V-1", amountToRecover=100)
    shop.enqueue("acme", currencyCode="?", creditorReference="V-2", amountToRecover=9000)
    shop.enqueue("bell", tag="sandbox:status=403", creditorReference="F-1", amountToRecover=9000)
    shop.run()

    page.goto("/jobs")
    page.get_by_label("Words in the message").fill("iso curr")
    page.get_by_text("More filters").click()
    page.get_by_label("Amount from").fill("1,000")
    page.get_by_label("HTTP status").select_option("400")
    page.get_by_role("button", name="Show", exact=True).click()

    expect(page.get_by_role("link", name="V-2")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(2)
    colleague = open_page("victor")
    colleague.goto(page.url)
    expect(colleague.get_by_role("link", name="V-2")).to_be_visible()
    expect(colleague.get_by_role("row")).to_have_count(2)
    expect(colleague.get_by_label("Amount from")).to_have_value("1,000")

    page.get_by_label("Amount from").fill("much")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be read")
    expect(page.get_by_label("Amount from")).to_have_accessible_description("should be a number such as 1250.50")


def test_invalid_links_are_checked_and_replayed(shop: Pipeline, sandbox_server: SandboxServer, page: Page) -> None:
    for number in range(2):
        shop.enqueue("missing-aurora", creditorReference=f"A-{number}")
    shop.run()
    page.goto("/links")
    expect(page.get_by_role("row").nth(1)).to_contain_text("missing-aurora")
    check = page.get_by_role("button", name="Check link now: missing-aurora")

    check.click()
    expect(page.get_by_role("status")).to_contain_text("There is no active client link")
    sandbox_server.sandbox.state.links["missing-aurora"] = "unfinished"
    check.click()
    expect(page.get_by_role("status")).to_contain_text("has not finished onboarding")
    expect(page.locator("#onboarding-url")).to_contain_text(
        "https://app.sandbox.example/onboarding?client=missing-aurora"
    )
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the address").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("https://app.sandbox.example/onboarding")

    sandbox_server.sandbox.state.links["missing-aurora"] = "ok"
    check.click()
    expect(page.get_by_role("status")).to_contain_text("onboarding is done: replay")
    page.get_by_role("link", name="Replay its jobs").click()
    expect(page.locator("[data-preview=jobs]")).to_have_text("2")


def test_personal_data_is_revealed_by_a_button_and_that_is_remembered(shop: Pipeline, page: Page) -> None:
    job = shop.submit(currencyCode="?")
    page.goto(f"/jobs/{job}")
    expect(page.locator("[data-masked]").first).to_be_visible()
    expect(page.get_by_text("Bådebyggeri")).to_have_count(0)

    page.get_by_role("button", name="Reveal personal data").click()

    expect(page.get_by_text("Bådebyggeri")).to_be_visible()
    page.goto(f"/jobs/{job}")
    expect(page.get_by_text("Personal data viewed by olga")).to_be_visible()
    expect(page.get_by_text("Bådebyggeri")).to_have_count(0)
