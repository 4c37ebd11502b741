"""The tenant digest in logs."""

from __future__ import annotations

import pytest

from worker.errors import SettingsError
from worker.telemetry.logging import digest_with, tenant_key


def test_a_tenant_digest_is_short_stable_and_needs_the_key() -> None:
    deployment = {"DATABASE_URL": "postgresql://u:secret@h/x"}

    digest = digest_with(tenant_key(deployment), "acme-42")

    assert digest == digest_with(tenant_key(dict(deployment)), "acme-42")
    assert len(digest) == 12
    assert digest != digest_with(tenant_key(deployment), "acme-43")
    assert digest != digest_with(tenant_key({"DATABASE_URL": "postgresql://u:other@h/x"}), "acme-42")


def test_a_key_of_its_own_outlives_a_change_of_the_database() -> None:
    key = {"LOG_TENANT_KEY": "k" * 16}

    assert tenant_key(key | {"DATABASE_URL": "a"}) == tenant_key(key | {"DATABASE_URL": "b"})


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(SettingsError, match="LOG_TENANT_KEY should have at least 16 characters"):
        tenant_key({"LOG_TENANT_KEY": "short"})
