"""The installed command as a process: exit codes, pipes, terminals."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import PROGRAM, program, run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline


def in_terminal(variables: dict[str, str], *arguments: str, columns: int = 140) -> str:
    """What a person sees in a terminal of that width."""
    parent, child = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": str(columns), **variables}
    with subprocess.Popen([PROGRAM, *arguments], stdin=child, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        seen = b""
        try:
            while piece := os.read(parent, 65536):
                seen += piece
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(parent)
        process.wait(30)
    return seen.decode()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["report", "--help"], 0),
        ([], 2),
        (["no-such-command"], 2),
        (["status", "--no-such-option"], 2),
        (["report", "--since", "yesterday"], 2),
        (["status"], 2),
    ],
)
def test_exit_codes_and_no_tracebacks(arguments: list[str], code: int) -> None:
    done = program({}, *arguments)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code == 2 and arguments:
        assert done.stdout == ""
        assert done.stderr.startswith("case-worker: ")
        assert len(done.stderr.splitlines()) == 1


def test_every_command_has_help_that_says_what_it_does() -> None:
    listed = run({}, "--help").stdout
    names = ("migrate", "enqueue", "status", "show", "report", "replay", "discard", "doctor", "sandbox")

    for name in names:
        assert f"\n  {name} " in listed
        text = run({}, name, "--help").stdout
        assert text.startswith(f"Usage: case-worker {name}")
        assert len(text.splitlines()) > 5


def test_a_failed_dead_job_among_the_ids_is_exit_code_1(ledger: Database, variables: dict[str, str]) -> None:
    done = program(variables, "replay", "01a20bd1-a8f1-7fbf-95f4-cc657a01ae99")

    assert (done.returncode, done.stdout) == (1, "nothing to replay\n")
    assert "there is no such job" in done.stderr


def test_whoever_reads_only_the_head_gets_no_complaint(pipeline: Pipeline, variables: dict[str, str]) -> None:
    for number in range(60):
        pipeline.enqueue(creditorReference=str(number), currencyCode="?")
    pipeline.run()

    done = subprocess.run(
        f"'{PROGRAM}' report --format csv | head -1",
        shell=True,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.startswith('"job_id"')
    assert done.stderr == ""


def test_a_terminal_gets_colours_and_a_pipe_does_not(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit("evil-\x1b[31m", tag="sandbox:status=403")

    seen, piped = in_terminal(variables, "report"), program(variables, "report").stdout

    assert "\x1b[1m" in seen
    assert str(job) in seen
    assert "\x1b[31m" not in seen  # a tenant's name cannot command the terminal
    assert "\x1b" not in piped
    assert str(job) in piped


def test_a_narrow_terminal_keeps_ids_whole(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit(tag="sandbox:status=403")

    assert str(job) in in_terminal(variables, "report", columns=60)


def test_an_output_of_few_characters_gets_escapes(pipeline: Pipeline, variables: dict[str, str]) -> None:
    pipeline.submit("Łódź", tag="sandbox:status=403")

    done = program({**variables, "PYTHONIOENCODING": "ascii"}, "report")

    assert done.returncode == 0
    assert "\\u0141" in done.stdout


def test_the_sandbox_says_that_its_port_is_taken(variables: dict[str, str]) -> None:
    port = variables["DEBITURA_REFERRAL_API_URL"].rpartition(":")[2]

    done = program({}, "sandbox", "--port", port)

    assert done.returncode == 2
    assert done.stderr.startswith("case-worker: ")
    assert "in use" in done.stderr


def test_discarding_by_filter_asks_in_a_terminal(pipeline: Pipeline, variables: dict[str, str], tmp_path: Path) -> None:
    # Given a dead job and somebody at a terminal who answers nothing but the end of input
    job = pipeline.submit(currencyCode="?")
    parent, child = pty.openpty()
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [PROGRAM, "discard", "--all", "--note", "x"]

    # When
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        os.write(parent, b"n\n")
        seen = b""
        try:
            while piece := os.read(parent, 65536):
                seen += piece
        except OSError:
            pass
        code = process.wait(30)
    os.close(parent)

    # Then nothing is discarded; and with --yes it is
    assert b"1 job of 1 tenant will be discarded permanently. Continue?" in seen
    assert (code, pipeline.job(job)["state"]) == (1, "dead")
    assert "discarded" in in_terminal(variables, "discard", "--all", "--note", "x", "--yes")
    assert pipeline.job(job)["state"] == "discarded"
