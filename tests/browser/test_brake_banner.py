"""The brake's banner fits a phone, is accessible, and takes a person's answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.accessibility import WIDE, assert_it_fits, complaints
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from worker.sandbox.server import SandboxServer


@pytest.mark.parametrize("size", [WIDE, {"width": 390, "height": 844}], ids=["wide", "phone"])
def test_the_brake_s_banner_fits_and_is_answered(
    shop: Pipeline, open_page: Callable[..., Page], sandbox_server: SandboxServer, size: dict[str, int]
) -> None:
    with Witness(sandbox_server.url) as witness:
        body = '{"debtor.phone": ["The field is not allowed"]}'
        witness.fault("cases", "status", status=400, body=body, contentType="application/json")
        for n in range(30):
            shop.enqueue(f"tenant-{n % 6}", creditorReference=f"r-{n}")
        shop.run()
    page = open_page(viewport=size)

    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("30 jobs of 6 tenants wait")
    assert complaints(page) == []
    assert_it_fits(page)

    page.get_by_label("Note").fill("a wrong import")
    page.get_by_role("button", name="Accept the verdict").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert shop.ledger.value("SELECT note FROM audit_log WHERE action = 'brake_accepted'") == "a wrong import"
