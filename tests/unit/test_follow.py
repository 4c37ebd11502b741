"""The example that follows the autoscaling signal with any command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from autoscaling.follow import Follower, useful_workers

from worker.process.health_server import HealthServer

EXAMPLES = Path(__file__).parent.parent.parent / "examples/autoscaling"


def test_the_follower_scales_up_at_once_and_down_after_a_while() -> None:
    follower = Follower(fewest=1, most=8, patience=60)
    asked = [(0, 2), (10, 5), (20, 1), (60, 3), (71, 3), (121, 0), (190, 0), (191, 20)]
    assert [follower.decide(useful, now=now) for now, useful in asked] == [2, 5, 5, 5, 3, 3, 1, 8]


def test_the_command_runs_with_each_new_number_and_again_when_it_failed(tmp_path: Path) -> None:
    numbers = iter([1, 3, 3])
    server = HealthServer(
        "127.0.0.1", 0, {"/scaling": lambda _a: (200, "x", json.dumps({"useful_workers": next(numbers, 3)}).encode())}
    )
    server.start()
    log = tmp_path / "log"
    act = f"import sys; open({str(log)!r}, 'a').write(sys.argv[1] + ' '); sys.exit(open({str(log)!r}).read() == '1 3 ')"
    url = f"http://127.0.0.1:{server.port}/scaling"
    command = [sys.executable, str(EXAMPLES / "follow.py"), url, "--every", "0.01", "--", sys.executable, "-c", act]
    with subprocess.Popen([*command, "{workers}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as following:
        deadline = time.monotonic() + 30
        while not log.exists() or log.read_text().count("3") < 2:
            assert time.monotonic() < deadline
            assert following.poll() is None
            time.sleep(0.02)
        following.terminate()
    server.shutdown()
    server.server_close()
    assert log.read_text() == "1 3 3 "


def test_no_answer_is_an_error_and_no_number() -> None:
    with pytest.raises(ValueError, match="no web address"):
        useful_workers("file:///etc/hostname")


def test_the_kubernetes_files_fit_together() -> None:
    scaled = yaml.safe_load((EXAMPLES / "keda-scaledobject.yaml").read_text())
    deployment = yaml.safe_load((EXAMPLES / "kubernetes-worker.yaml").read_text())
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    (port,) = container["ports"]
    assert environment["WORKER_METRICS_PORT"] == str(port["containerPort"])
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert deployment["spec"]["template"]["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert "replicas" not in deployment["spec"], "it is the autoscaler's to say"
