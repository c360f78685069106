"""`portico run` as users run it: nothing runs beforehand, and what it leaves behind is gone on with.

What it prints and how it ends is in `tests/unit/surfaces/cli/test_run_agent.py`.
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import PORTICO, START_TIMEOUT_S, a_home, bare_environment, run
from tests.model_server import ModelServer, Pause, Reply, Request, running_model_server

STATE = "state"
FIRST = "word0 "


def answer(request: Request) -> Reply:
    """Speak for twenty seconds when told to, else at once."""
    if "slowly" not in str(request.body):
        return ["You asked: ", "well."]
    return [part for number in range(400) for part in (f"word{number} ", Pause(0.05))]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with running_model_server() as server:
        server.answer_with = answer
        yield server


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One state folder for all: to make a database takes longer than a run."""
    with a_home() as home:
        yield home


@pytest.fixture(scope="module")
def env(server: ModelServer) -> dict[str, str]:
    return {"DEFAULT_MODEL": "openai-chat:gpt-4o", "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}


def ended_while_speaking(home: Path, env: dict[str, str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal to one that is in the midst of its answer; give its exit code and what it complained."""
    with subprocess.Popen(
        [PORTICO, "run", "--state-dir", STATE, "speak slowly"],
        cwd=home,
        env=bare_environment(home, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        first = program.stdout.read(len(FIRST))
        program.send_signal(number)
        _, complained = program.communicate(timeout=START_TIMEOUT_S)
    assert first == FIRST, complained
    return program.returncode, complained


def test_an_answer_goes_to_stdout_and_nothing_else_does(home: Path, env: dict[str, str]) -> None:
    done = run(home, "run", "--state-dir", STATE, "--agent", "assistant", "how are you?", env=env)

    assert (done.returncode, done.stdout, done.stderr) == (0, "You asked: well.\n", "")
    assert (home / STATE / "postgres").is_dir()


@pytest.mark.soak
def test_ctrl_c_cancels_the_run_and_says_so(home: Path, env: dict[str, str]) -> None:
    code, complained = ended_while_speaking(home, env, signal.SIGINT)

    assert code == 1
    assert "was cancelled" in complained


@pytest.mark.soak
def test_what_a_killed_one_has_left_is_told_and_finished(home: Path, env: dict[str, str], server: ModelServer) -> None:
    ended_while_speaking(home, env, signal.SIGKILL)
    server.answer_with = lambda _: [FIRST, "and done."]

    done = run(home, "run", "--state-dir", STATE, "--resume", "--events", env=env)

    server.answer_with = answer
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert "goes on" in done.stderr
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run_completed"
    assert "no run was left" in run(home, "run", "--state-dir", STATE, "--resume", env=env).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "--events", "hello"], "not allowed with"),
        (["--timeout", "soon", "hello"], "is no number of seconds"),
    ],
)
def test_bad_usage_is_told(home: Path, arguments: list[str], words: str) -> None:
    done = run(home, "run", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
