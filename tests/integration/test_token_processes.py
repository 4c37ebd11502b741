"""Real processes over one Valkey and one sandbox: the mints are counted where they happen."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from local_servers import LocalValkey

from tests.support.sandbox_witness import Witness

#: Gets tokens as a worker does, on eight threads, and says which.
PROGRAM = """
import json, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from worker.debitura.apis import mint_token
from worker.debitura.http import HttpClient
from worker.debitura.token_cache import RedisTokenCache
from worker.debitura.tokens import TokenStore

redis_url, api_url, tenants, start_at = sys.argv[1], sys.argv[2], sys.argv[3].split(","), float(sys.argv[4])
client = HttpClient(api_url, timeout=10, connections=8)
cache = RedisTokenCache(redis_url, api_key="sandbox-partner-key", environment="test", lock_seconds=25, connections=8)
mint = lambda tenant: mint_token(client, api_key="sandbox-partner-key", external_tenant_id=tenant)
store = TokenStore(mint, cache, longest_mint=25)
time.sleep(max(0.0, start_at - time.time()))
with ThreadPoolExecutor(8) as threads:
    tokens = list(threads.map(lambda n: store.get(tenants[n % len(tenants)]).fingerprint, range(80)))
print(json.dumps({"tokens": sorted(set(tokens)), "mints": store.mints}))
"""


def run_processes(number: int, valkey: LocalValkey, sandbox: Witness, tenants: list[str]) -> list[dict[str, object]]:
    arguments = [sys.executable, "-c", PROGRAM, valkey.url, sandbox.url, ",".join(tenants), str(time.time() + 2)]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE) for _ in range(number)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * number
    return [json.loads(output) for output in outputs]


def test_four_processes_mint_once_for_each_tenant(valkey: LocalValkey, sandbox: Witness) -> None:
    sandbox.control("settings", latencyMs=50)
    tenants = ["acme", "globex", "initech"]

    found = run_processes(4, valkey, sandbox, tenants)

    assert sandbox.look("stats")["mints_by_tenant"] == dict.fromkeys(tenants, 1)
    assert sum(int(str(f["mints"])) for f in found) == 3
    assert all(f["tokens"] == found[0]["tokens"] for f in found)


def test_a_process_that_is_killed_while_it_mints_does_not_stop_the_others(
    valkey: LocalValkey, sandbox: Witness
) -> None:
    sandbox.faults({"endpoint": "token", "kind": "hang", "times": 1})
    program = PROGRAM.replace("lock_seconds=25", "lock_seconds=2")
    arguments = [valkey.url, sandbox.url, "acme", "0"]
    victim = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL)
    while sandbox.mint_requests() == 0:
        assert victim.poll() is None
        time.sleep(0.02)
    victim.kill()
    victim.wait()

    (other,) = run_processes(1, valkey, sandbox, ["acme"])

    assert other["mints"] == 1
    assert sandbox.mints() == 1
