"""Agents from a Python program, over a real state folder: to make one is slow, so there is one for all."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.headless import RunEvent, RunState, open_desk, run
from tests.e2e.program import ROOT, a_home
from tests.receivers import Receiver


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


@pytest.mark.soak
async def test_the_example_sums_up_a_folder(home: Path) -> None:
    for name in ("monday", "tuesday"):
        (home / f"{name}.txt").write_text(f"We met on {name}.")
    example = importlib.util.spec_from_file_location("digest", ROOT / "examples/headless/digest.py")
    assert example is not None
    assert example.loader is not None
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)

    problems = await module.digest(home, model="scripted")

    assert problems == []
    assert "We met on tuesday." in (home / "tuesday.summary.txt").read_text()


async def test_one_call_runs_an_agent_to_its_end(home: Path) -> None:
    heard: list[RunEvent] = []

    result = await run("hello", model="scripted", agent="assistant", state_dir=home / ".portico", hear=heard.append)

    assert result.is_completed
    assert (result.status, result.agent, result.error) == (RunState.COMPLETED, "assistant", None)
    assert result.text == "You said: hello (turn 1)"
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))


async def test_what_is_told_of_a_run_has_arrived_when_the_call_returns(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFICATION_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("NOTIFICATION_SECRET", "correct-horse-battery-staple-of-the-test")
    receiver = Receiver()
    with receiver.listening():
        told = {"webhook_url": f"{receiver.url}/hook", "on": ["success"]}
        result = await run("hello", model="scripted", agent="assistant", state_dir=home / ".portico", notify=told)
        taken = list(receiver.accepted)

    assert [got.json["data"]["run_id"] for got in taken] == [str(result.run_id)]


async def test_a_failure_is_told_and_what_the_block_raises_passes_as_it_is(home: Path) -> None:
    failed = await run("hello", model="none", agent="assistant", state_dir=home / ".portico")

    assert failed.status is RunState.FAILED
    assert failed.error is not None
    assert failed.error.type == "model-not-configured"
    with pytest.raises(ZeroDivisionError):
        await _broken(home / ".portico")


async def _broken(folder: Path) -> None:
    async with open_desk(folder, model="scripted") as desk:
        assert await desk.left() == []
        raise ZeroDivisionError
