"""Processes of `portico serve` are killed and stopped while an agent speaks: runs go on, no reader misses a word."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.builders import bearer, public_pem
from tests.e2e.program import PORTICO, Program, a_home, becomes_true, free_port, running
from tests.e2e.reader import Reader
from tests.http.calls import Json, history, make_task, open_chat
from tests.http.streams import begin, read_run
from tests.model_server import ModelServer, Pause, Reply, Request, running_model_server

WORDS = [f"word{number} " for number in range(40)]
ROUTES = (
    '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
    '[[routes]]\nprefix = "/api/v1"\nlocal = true\naccess = "COMMON"\n'
)


def slowly(request: Request) -> Reply:
    """Say forty words in about two seconds."""
    del request
    return [part for word in WORDS for part in (word, Pause(0.05))]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with running_model_server() as server:
        server.answer_with = slowly
        yield server


@contextmanager
def serving(home: Path, dsn: str, server: ModelServer, *flags: str, rows: str = "", **more: str) -> Iterator[Program]:
    port = free_port()
    config = home / "gateway.toml"
    config.write_text(ROUTES + rows)
    environment = {
        "POSTGRES_DSN": dsn,
        "POSTGRES_SCHEMA": "survive",  # of its own: the worker of any gateway on a schema takes its runs
        "JWT_PUBLIC_KEY": public_pem(),
        "DEFAULT_MODEL": "openai-chat:gpt-4o",
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "none",
        "LOG_JSON": "true",
        **more,
    }
    command = (PORTICO, "serve", "--port", str(port), "--config", str(config), "--drain-delay", "0", *flags)
    with running(home, *command, url=f"http://127.0.0.1:{port}", **environment) as program:
        program.awaits(program.is_ready)
        program.awaits(lambda: bool(program.logged("worker.started")))
        yield program


@pytest.fixture(scope="module")
def gateway(migrated_dsn: str, server: ModelServer) -> Iterator[Program]:
    with a_home() as home, serving(home, migrated_dsn, server) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Program) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def processes(gateway: Program, role: str) -> list[int]:
    """The children of the supervisor that do this, by what they were told."""
    listing = subprocess.run(
        ["ps", "axww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    told = re.compile(rf'"role": "{role}"')
    return [int(pid) for pid, parent, args in rows if int(parent) == gateway.process.pid and told.search(args)]


def speaking(client: httpx.Client, sub: str, urls: Sequence[str]) -> tuple[int, Reader]:
    """A run in the midst of its answer, and who follows it."""
    chat_id = open_chat(client, sub, agent="assistant")["id"]
    run = begin(client, sub, chat_id, "Speak.")
    reader = Reader(urls, run["id"], bearer(sub=sub)).start()
    reader.awaits(lambda reader: "word5" in reader.text)
    return chat_id, reader


def assert_nothing_is_lost(client: httpx.Client, sub: str, chat_id: int, reader: Reader) -> None:
    events = reader.finish()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run_completed"
    assert "".join(event["data"]["text"] for event in events if event["type"] == "text_delta") == "".join(WORDS)
    assert not any(event["type"] == "stream_retry" for event in events)
    question, answer = history(client, sub, chat_id)
    assert (question["status"], answer["status"], answer["content"]) == ("complete", "complete", "".join(WORDS))


def test_the_web_process_is_killed_and_the_model_is_not_asked_again(
    gateway: Program, client: httpx.Client, server: ModelServer
) -> None:
    asked = len(server.requests)
    chat_id, reader = speaking(client, "ann", [gateway.url])

    os.kill(processes(gateway, "web")[0], signal.SIGKILL)

    reader.finish()
    gateway.awaits(gateway.is_ready)
    assert reader.connections > 1
    assert len(server.requests) == asked + 1
    assert_nothing_is_lost(client, "ann", chat_id, reader)


def test_the_worker_is_killed_and_its_successor_says_the_rest(
    gateway: Program, client: httpx.Client, server: ModelServer
) -> None:
    asked = len(server.requests)
    chat_id, reader = speaking(client, "ben", [gateway.url])
    killed_s = time.monotonic()

    os.kill(processes(gateway, "worker")[0], signal.SIGKILL)

    reader.finish()
    print(f"a worker was killed: the answer was whole {time.monotonic() - killed_s:.1f} s later")  # noqa: T201 - a figure
    assert reader.connections == 1
    assert (
        len(server.requests) == asked + 2
    )  # the request that was cut off is made again, and its answer not shown twice
    assert_nothing_is_lost(client, "ben", chat_id, reader)


@pytest.mark.soak
def test_the_worker_is_told_to_stop_and_hands_its_run_over(
    gateway: Program, client: httpx.Client, server: ModelServer
) -> None:
    aborted, died = len(server.aborted), len(gateway.logged("worker.found_runs_of_the_dead"))
    chat_id, reader = speaking(client, "cleo", [gateway.url])

    os.kill(processes(gateway, "worker")[0], signal.SIGTERM)

    reader.finish()
    assert len(server.aborted) == aborted + 1
    assert len(gateway.logged("worker.found_runs_of_the_dead")) == died  # nobody had to find it
    assert_nothing_is_lost(client, "cleo", chat_id, reader)


def test_a_worker_that_is_hung_up_goes_on(gateway: Program) -> None:
    before = processes(gateway, "worker")

    os.kill(before[0], signal.SIGHUP)
    gateway.process.send_signal(signal.SIGHUP)

    assert not becomes_true(lambda: processes(gateway, "worker") != before, within_s=0.5)


def test_a_process_that_answers_requests_never_loads_a_model_library(gateway: Program, client: httpx.Client) -> None:
    chat_id = open_chat(client, "dora", agent="echo")["id"]
    client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "hi"}, headers=bearer(sub="dora"))

    def are_well() -> bool:
        health = client.get("/api/v1/agents/", headers=bearer(sub="dora")).json()["items"]
        return {agent["health"] for agent in health if agent["name"] != "agenda"} == {"ok"}

    assert becomes_true(are_well, within_s=60)  # as their worker says, which is asked now and then

    (web,) = processes(gateway, "web")
    mapped = Path(f"/proc/{web}/maps").read_text() if Path(f"/proc/{web}").exists() else ""

    assert "pydantic_core" in mapped  # what it does load is seen here
    assert not any(name in mapped for name in ("jiter", "tiktoken"))


@pytest.mark.soak
def test_when_one_of_two_instances_is_stopped_all_runs_are_finished_and_every_reader_sees_every_event(
    migrated_dsn: str, server: ModelServer
) -> None:
    with ExitStack() as stack:
        homes = [stack.enter_context(a_home()) for _ in range(2)]
        old, new = (stack.enter_context(serving(home, migrated_dsn, server)) for home in homes)
        clients = [stack.enter_context(httpx.Client(base_url=one.url, timeout=30)) for one in (old, new)]
        turns = []
        for number in range(10):
            urls = [old.url, new.url][:: 1 if number % 2 else -1]
            chat_id = open_chat(clients[0], f"reader{number}", agent="assistant")["id"]
            run = begin(clients[number % 2], f"reader{number}", chat_id, "Speak.")
            turns.append((chat_id, Reader(urls, run["id"], bearer(sub=f"reader{number}")).start()))
        for _, reader in turns:
            reader.awaits(lambda reader: "word2" in reader.text)

        code = old.stop()

        for _, reader in turns:
            reader.finish()
        cut = sum(reader.connections > 1 for _, reader in turns)
        print(f"an instance was stopped: {cut} of {len(turns)} streams were cut, and went on elsewhere")  # noqa: T201
        assert code == 0
        assert cut
        for number, (chat_id, reader) in enumerate(turns):
            assert_nothing_is_lost(clients[1], f"reader{number}", chat_id, reader)


@pytest.mark.soak
def test_the_worker_of_a_task_is_killed_and_what_waits_for_it_begins_all_the_same(
    gateway: Program, client: httpx.Client
) -> None:
    task = make_task(client, "dora", task_type="delegation", prompt="Speak.", agent="assistant")
    waiting = make_task(
        client, "dora", task_type="delegation", prompt="Speak.", agent="assistant", depends_on=[task["id"]]
    )
    reader = Reader([gateway.url], task["run_id"], bearer(sub="dora")).start()
    reader.awaits(lambda reader: "word5" in reader.text)

    os.kill(processes(gateway, "worker")[0], signal.SIGKILL)

    def ended(made: Json) -> Json:
        found: Json = client.get(f"/api/v1/tasks/{made['id']}", headers=bearer(sub="dora")).json()
        return found

    assert reader.finish()[-1]["type"] == "run_completed"
    assert read_run(client, "dora", task["run_id"])["result"] == {"text": "".join(WORDS)}
    assert becomes_true(lambda: ended(waiting)["last_status"] == "completed", within_s=30)
    for made in (task, waiting):
        runs = client.get(f"/api/v1/tasks/{made['id']}/runs", headers=bearer(sub="dora")).json()
        assert [run["status"] for run in runs["items"]] == ["completed"]
