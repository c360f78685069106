"""Many runs share one MCP server, which is killed in the midst of a call: a tool's error, and the next call works."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.program import ROOT, Program, becomes_true
from tests.e2e.test_roles import health
from tests.e2e.test_runs_survive import serving
from tests.http.calls import as_, open_chat
from tests.model_server import Call, Reply, Request, running_model_server

RUNS = 30
PATIENCE_S = 60
ROW = f"""
[mcp_servers.small]
command = {sys.executable!r}
args = [{str(ROOT / "tests" / "mcp_server.py")!r}]
trusted = true
"""
AGENT = """
from app.agents.contract import Agent
from app.agents.rules import allow

agent = Agent(
    name="reckoner",
    description="Adds numbers",
    instructions="Add.",
    mcp_servers=["small"],
    approvals=[allow()],
)
"""
pytestmark = pytest.mark.soak


def reckoning(request: Request) -> Reply:
    """Call what the question names, in its order, then tell what the last call came to."""
    said = request.body["messages"]
    results = [message["content"] for message in said if message["role"] == "tool"]
    wanted = request.last_user_text.split()
    if len(results) == len(wanted):
        return [f"It is {results[-1]}."]
    tool, _, number = wanted[len(results)].partition("=")
    return [Call(f"small_{tool}", {"file": number} if tool == "wait" else {"a": int(number), "b": int(number)})]


def test_thirty_runs_share_one_server_and_outlive_it(home: Path, migrated_dsn: str) -> None:
    agents = home / "agents"
    agents.mkdir()
    (agents / "reckoner.py").write_text(AGENT)
    with running_model_server() as server:
        server.answer_with = reckoning
        with (
            serving(home, migrated_dsn, server, rows=ROW, AGENTS_DIR=str(agents)) as gateway,
            httpx.Client(base_url=gateway.url, timeout=PATIENCE_S) as client,
            ThreadPoolExecutor(RUNS) as pool,
        ):
            assert becomes_true(lambda: health(client, "mcp", "small") == "ok", within_s=PATIENCE_S)
            answers = list(pool.map(lambda number: ask(client, number, f"add={number} add={number}"), range(RUNS)))
            assert answers == [f"It is {2 * number}." for number in range(RUNS)]
            (first,) = servers_of(gateway)

            state = home / "state"
            broken = pool.submit(ask, client, RUNS, f"wait={state} add=4")
            assert becomes_true(state.exists, within_s=PATIENCE_S)
            os.kill(first, signal.SIGKILL)
            assert broken.result(PATIENCE_S) == "It is 8."
            results = [m["content"] for m in server.requests[-1].body["messages"] if m["role"] == "tool"]
            assert "nobody knows whether it was done" in results[0]
            assert ask(client, RUNS, "add=5") == "It is 10."
            (second,) = servers_of(gateway)
            assert second != first


def ask(client: httpx.Client, number: int, words: str) -> str:
    sub = f"reckons-{number}"
    chat = open_chat(client, sub, agent="reckoner")
    answer = client.post(f"/api/v1/messages/{chat['id']}/exchange", json={"content": words}, headers=as_(sub))
    assert answer.status_code == 201, answer.text
    return str(answer.json()[1]["content"])


def servers_of(gateway: Program) -> list[int]:
    """Find the processes of the MCP server that descend from this program."""
    parents, found = {}, []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_text()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        if "mcp_server.py" in command and "guard.py" not in command:
            found.append(int(entry.name))
    return [pid for pid in found if descends(pid, gateway.process.pid, parents)]


def descends(pid: int, from_: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == from_:
            return True
        pid = parents[pid]
    return False
