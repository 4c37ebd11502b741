"""The page is accessible in light and dark mode and on a phone, and no case's text can break it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.support.accessibility import RULES, WIDE, assert_it_fits, complaints
from tests.support.pipeline import Pipeline, refused

OpenPage = Callable[..., Page]
PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize(
    ("scheme", "size", "rules"),
    [
        pytest.param("light", WIDE, RULES, id="light"),
        pytest.param("light", PHONE, RULES, id="phone"),
        # The dark pages differ by their colours alone.
        pytest.param("dark", WIDE, ["color-contrast"], id="dark"),
    ],
)
def test_axe_finds_nothing_to_complain_of(
    shop: Pipeline, open_page: OpenPage, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    refused(shop, 2)
    shop.submit("invalid-rosenhof")
    for tenant in ("a-tenant-with-a-long-name-that-no-row-of-a-phone-has-room-for", "bell"):
        shop.submit(tenant, currencyCode="?", creditorReference="twice", amountToRecover=123_456_789)
    job = shop.submit(tag="sandbox:business=MissingKycVerification", creditorReference="K-1")
    colours = size == WIDE  # those on a phone are the same, and measuring them takes longest
    login = open_page(None, color_scheme=scheme, viewport=size)
    login.goto("/login")
    found = complaints(login, rules, colours=colours)
    page = open_page(color_scheme=scheme, viewport=size)

    paths = ["/", "/jobs", f"/jobs/{job}", "/links", "/find?q=twice", "/act?verb=discard&scope=filter"]
    if (scheme, size) == ("light", WIDE):
        empty = ["/?text=nothing", "/links?tenant=nobody", "/find?q=nothing", "/operations", "/audit"]
        paths = [*empty, "/jobs?min=x", "/audit?job=x", "/nowhere", "/act?verb=replay&scope=filter", *paths]
    for path in paths:
        page.goto(path)
        found += complaints(page, rules, colours=colours)
        assert_it_fits(page)
    page.get_by_label("Why").fill("a test")
    page.get_by_role("button", name="Discard 6 jobs").click()
    expect(page.locator("[data-state]")).to_have_text("done")
    found += complaints(page, rules, colours=colours)
    for path in ("/operations", "/audit"):
        page.goto(path)
        found += complaints(page, rules, colours=colours)
        assert_it_fits(page)

    assert found == []


def test_the_form_of_a_correction_is_accessible_too(shop: Pipeline, page: Page) -> None:
    job = shop.submit(currencyCode="?")
    page.goto(f"/jobs/{job}")
    page.get_by_role("button", name="Correct and replay").click()

    assert complaints(page) == []


def test_the_choice_of_colours_stays(page: Page) -> None:
    page.goto("/")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.get_by_role("button", name="Switch between light and dark").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.goto("/jobs")

    assert before != after
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_the_keyboard_gets_past_the_head_at_once(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_a_hostile_case_is_shown_and_does_nothing(shop: Pipeline, open_page: OpenPage, size: dict[str, int]) -> None:
    """The fixture behind `open_page` fails the test for any dialog, refused script, or request to elsewhere."""
    tenant, reference = "<script>alert('tenant')</script>", '=cmd|"/c calc"!A1'
    job = shop.submit(tenant, currencyCode="?", creditorReference=reference, comments="\u202eesrever\u202c")
    long = "<img src=x onerror=alert(1)> " + "word " * 1000 + "x" * 5000 + " \u05e9\u05dc\u05d5\u05dd \u202eevil"
    shop.ledger.rows(
        "UPDATE dead_letters SET solution_url = 'javascript:alert(2)', detail = detail || jsonb_build_object("
        "'message', %s::text, 'type', '<b>type</b>', 'combinedSigningUrl', 'javascript:alert(3)')",
        long,
    )
    page = open_page(viewport=size)

    for path in ("/", "/jobs", f"/jobs/{job}", "/act?verb=replay&scope=filter", "/find?q=" + quote(long[:900])):
        page.goto(path)
        assert_it_fits(page)
        assert page.locator("a[href^='javascript']").count() == 0
        assert page.locator("main img[src=x], main script, main b:text-is('type')").count() == 0
        assert page.evaluate("document.documentElement.scrollHeight") < 6000, f"{path} is drowned in one message"
    page.goto(f"/jobs/{job}")
    expect(page.get_by_role("heading", name=reference)).to_be_visible()
    expect(page.get_by_text(tenant).first).to_be_visible()
    page.get_by_role("button", name="Reveal personal data").click()
    assert "\u202e" not in page.content()
