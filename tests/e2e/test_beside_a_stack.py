"""What a running stack tells of itself, and what `voice` does beside it."""

from __future__ import annotations

import json
import os
import time
from urllib.request import Request, urlopen

from e2e_factories import RunningStack, is_alive, run_voice

from voice_local.servers import free_port


def test_the_stack_file_says_exactly_what_the_contract_says(stack: RunningStack) -> None:
    document = stack.described()
    assert document.keys() == {"base_url", "mongo_url", "redis_url", "services", "mongod_pid", "redis_pid"}
    assert document["base_url"] == stack.base_url
    assert document["services"].keys() == {"gateway", "analytics", "recordings", "webhooks"}
    pids = [document["mongod_pid"], document["redis_pid"]]
    for service in document["services"].values():
        assert service.keys() == {"url", "metrics_url", "pid"}
        pids.append(service["pid"])
        with urlopen(service["metrics_url"], timeout=5) as response:
            assert b"# TYPE" in response.read()
        with urlopen(Request(f"{service['url']}/livez"), timeout=5) as response:
            assert response.status == 200
    assert all(is_alive(pid) for pid in pids)
    assert all(os.getpgid(pid) == pid for pid in pids)


def test_a_data_directory_in_use_is_said_in_a_sentence(stack: RunningStack) -> None:
    before = stack.described()
    ended = run_voice("up", "--port", str(free_port()), "--data-dir", str(stack.data), "--no-demo")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"voice: Another stack runs on {stack.data} (process {stack.process.pid})")
    assert ended.stderr.count("\n") == 1
    assert stack.described() == before


def test_simulate_prints_what_must_result(stack: RunningStack) -> None:
    name = f"cli-{time.time_ns()}"
    folder = ("--data-dir", str(stack.data))
    nobody = run_voice("simulate", name, *folder)
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)
    assert f"There is no tenant {name}" in nobody.stderr
    connection = name.removeprefix("cli-")
    assert run_voice("tenant", "create", name, "--connection-id", connection, "--json", *folder).returncode == 0
    token = json.loads(run_voice("token", "issue", name, "--json", *folder).stdout)["token"]
    ended = run_voice("simulate", name, "--calls", "20", "--shuffle", "--duplicates", "0.3", "--json", *folder)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["duplicates"] == round(0.3 * report["events"])
    assert report["accepted"] + report["duplicate"] == report["sent"] == report["events"] + report["duplicates"]
    days = f"start_date={report['start_date']}&end_date={report['end_date']}"
    request = Request(
        f"{stack.base_url}/api/voice/analytics/detailed?{days}",
        headers={"Authorization": f"Bearer {token}", "Cache-Control": "no-cache"},
    )
    deadline = time.monotonic() + 10
    while True:
        with urlopen(request, timeout=5) as response:
            metrics = json.load(response)["metrics"]
        if metrics == report["metrics"]:
            break
        assert time.monotonic() < deadline, (metrics, report["metrics"])
        time.sleep(0.2)
