"""Thousands who follow runs hold neither connections to the database nor anybody else up."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import a_token
from tests.e2e.program import ROOT
from tests.http.calls import open_chat
from tests.http.streams import begin
from tests.model_server import Hold, ModelServer, Pause, running_model_server
from tests.soak.load import a_request, load_on
from tests.soak.stand import HEALTH, LOCAL, METRICS, Held, a_gateway, port_of, say, stay_for

STREAMS = 2000
RUNS = 10
SECONDS = 20
PER_S = 200
P99_LIMIT_MS = 50
OWNER = "crowd"
WORDS = 40
pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with running_model_server() as server:
        server.answer_with = lambda _: [*(part for _ in range(WORDS) for part in ("word ", Pause(0.4))), Hold(), "end"]
        yield server


def test_two_thousand_streams_on_a_pool_of_five_hold_no_ping_up(
    home: Path, migrated_dsn: str, server: ModelServer
) -> None:
    environment: dict[str, Any] = {  # texts, which mypy would take for the other arguments
        "POSTGRES_DSN": migrated_dsn,
        "DATABASE_POOL_SIZE": "5",
        "DATABASE_MAX_POOL_OVERFLOW": "0",
        "DEFAULT_MODEL": "openai-chat:gpt-4o",
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "none",
        "TRUSTED_PROXIES": "127.0.0.1",  # speaks for many: a single address is allowed 1,000 connections
    }
    token = a_token(sub=OWNER)
    with a_gateway(home, HEALTH + LOCAL + METRICS, role="all", **environment) as gateway:
        with httpx.Client(base_url=gateway.url, timeout=60) as client:
            chats = [open_chat(client, OWNER, agent="assistant")["id"] for _ in range(RUNS)]
            runs = [begin(client, OWNER, chat_id, "Speak.")["id"] for chat_id in chats]
        before = Held.by(gateway.workers())
        command = [sys.executable, "-m", "tests.soak.followers", str(port_of(gateway)), token, str(STREAMS), *runs]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "running\n"
            opened = Held.by(gateway.workers())
            told = httpx.get(f"{gateway.url}/metrics", timeout=30).text
            ping = a_request("/api/health/ping", token=token)
            with load_on(port_of(gateway), ping, connections=8, per_s=PER_S) as load:
                stay_for(SECONDS)
                load.end()
            server.release()
            counted = json.loads(crowd.communicate(timeout=120)[0])

    say(load.told(f"pings beside {STREAMS} streams of {RUNS} runs, on a pool of 5"))
    say(f"{counted}; {(opened.rss_bytes - before.rss_bytes) / STREAMS / 1024:.1f} KB a stream")
    assert (
        float(re.findall(r"^portico_requests_open (\S+)$", told, re.MULTILINE)[0]) < STREAMS / 10
    )  # streams are no work
    assert load.failed == {}
    assert counted["opened 200"] == counted["ended"] == STREAMS
    assert [what for what in counted if "lost" in what] == []
    assert load.phases["start"].p99_ms < P99_LIMIT_MS
