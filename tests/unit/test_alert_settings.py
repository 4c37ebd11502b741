"""Alert receivers: which URLs are accepted, and that none is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.alerts.settings import AlertSettings
from worker.errors import SettingsError

read = AlertSettings.from_environment
SLACK = "slack+https://hooks.slack.example/services/T0/B0/hunter2"


def test_nothing_set_means_nobody_is_told() -> None:
    settings = read({})

    assert (settings.targets, settings.secrets, settings.report_url) == ((), (), "")
    assert settings.oldest_pending == 900


def test_urls_are_separated_by_white_space_and_each_has_its_format() -> None:
    settings = read({"ALERT_WEBHOOK_URLS": f" https://a.example:8443/x?k=1\n{SLACK}  http://127.0.0.1:9/ "})

    assert [(t.base_url, t.path, t.slack) for t in settings.targets] == [
        ("https://a.example:8443", "/x?k=1", False),
        ("https://hooks.slack.example", "/services/T0/B0/hunter2", True),
        ("http://127.0.0.1:9", "/", False),
    ]
    assert [r.host for r in settings.receivers] == ["a.example:8443", "hooks.slack.example", "127.0.0.1:9"]


def test_an_address_that_is_named_twice_is_told_once() -> None:
    assert len(read({"ALERT_WEBHOOK_URLS": f"{SLACK} {SLACK}"}).targets) == 1


def test_urls_and_secrets_may_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("https://a.example/x\nhttps://b.example/y\n")
    (tmp_path / "secret").write_text("a" * 20 + "\n" + "b" * 20)

    settings = read(
        {"ALERT_WEBHOOK_URLS_FILE": str(tmp_path / "urls"), "ALERT_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")}
    )

    assert len(settings.targets) == 2
    assert settings.secrets == ("a" * 20, "b" * 20)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/hunter2",
        "slack+http://a.example/hunter2",
        "http://localhost.evil.example/hunter2",
        "ftp://a.example/hunter2",
        "a.example/hunter2",
        "https:///hunter2",
        "https://u:hunter2@a.example/",
        "https://a.example:port/hunter2",
        "https://[::1/hunter2",
        "https://a.example/hunter2#part",
        "https://ä.example/hunter2",
        "discord+https://a.example/hunter2",
    ],
)
def test_an_address_that_could_be_overheard_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^ALERT_WEBHOOK_URLS should be https://") as refused:
        read({"ALERT_WEBHOOK_URLS": f"https://fine.example/x {url}"})

    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_path_is_in_what_can_be_printed() -> None:
    settings = read({"ALERT_WEBHOOK_URLS": SLACK, "ALERT_WEBHOOK_SECRET": "hunter2-hunter2-hunter2"})

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.receivers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERT_WEBHOOK_SECRET", "short"),
        ("ALERT_WEBHOOK_URLS", " ".join(f"https://a.example/{n}" for n in range(11))),
        ("ALERT_OLDEST_PENDING_SECONDS", "0"),
        ("ALERT_OLDEST_PENDING_SECONDS", "soon"),
        ("ALERT_OLDEST_PENDING_SECONDS", "nan"),
        ("REPORT_URL", "cases.example.com"),
        ("REPORT_URL", "http://cases.example.com"),
        ("REPORT_URL", "https://cases.example.com/?a=b"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} should"):
        read({name: value})


def test_the_report_s_address_has_no_slash_at_its_end() -> None:
    assert read({"REPORT_URL": "https://cases.example.com/report/"}).report_url == "https://cases.example.com/report"
