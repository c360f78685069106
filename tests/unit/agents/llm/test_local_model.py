"""The parent's side with children that misbehave: real processes, but no llama.cpp in them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.agents.llm import local_model_child, local_model_host
from app.agents.llm.local_model import LocalModel
from app.agents.llm.local_model_errors import (
    ChildDied,
    ChildNotStarted,
    ChildSilent,
    CpuUnsupported,
    ExtraMissing,
    FolderUnusable,
    LocalModelUnavailable,
)

KILLED_BY = "import os, signal; os.kill(os.getpid(), signal.{name})"


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_model_host, "is_installed", lambda: True)
    file = tmp_path / "any.gguf"
    file.touch()
    return file


def a_model(tmp_path: Path, gguf: Path, *, ready_timeout_s: float = 20.0) -> LocalModel:
    return LocalModel(tmp_path / "home", gguf=gguf, ready_timeout_s=ready_timeout_s, cpu_flags=lambda: None)


async def test_a_child_that_gives_up_is_reported_with_its_last_words(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model_child, "_PROGRAM", "import sys; sys.exit('it hurts')")
    model = a_model(tmp_path, gguf)

    with pytest.raises(ChildDied, match=r"stopped with code 1: check that LOCAL_MODEL_GGUF(?s:.*)it hurts"):
        await model.start()

    assert "it hurts" in (await model.health()).detail
    await model.stop()


async def test_a_killed_child_is_reported_with_the_signal(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model_child, "_PROGRAM", KILLED_BY.format(name="SIGKILL"))
    model = a_model(tmp_path, gguf)

    with pytest.raises(ChildDied, match=r"killed by SIGKILL: look for a shortage of memory"):
        await model.start()

    await model.stop()


async def test_watch_gives_up_when_the_processor_refuses_the_code(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model_child, "_PROGRAM", KILLED_BY.format(name="SIGILL"))
    model = a_model(tmp_path, gguf)

    await model.watch()

    ok, detail = await model.health()
    assert not ok
    assert "this processor lacks an instruction" in detail
    await model.stop()


async def test_a_child_that_never_answers_is_not_waited_for_for_ever(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model_child, "_PROGRAM", "import time; time.sleep(2)")
    model = a_model(tmp_path, gguf, ready_timeout_s=0.2)

    with pytest.raises(ChildSilent, match=r"within 0\.2 s: choose a smaller LOCAL_MODEL_GGUF"):
        await model.start()

    await model.stop()


async def test_a_process_that_cannot_be_started_is_reported(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    model = a_model(tmp_path, gguf)

    with pytest.raises(ChildNotStarted, match="No such file"):
        await model.start()

    await model.stop()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, gguf: Path) -> None:
    (tmp_path / "home").touch()
    model = a_model(tmp_path, gguf)

    with pytest.raises(FolderUnusable, match="DATA_DIR"):
        await model.start()


async def test_an_old_processor_is_refused_before_anything_is_started(tmp_path: Path, gguf: Path) -> None:
    model = LocalModel(tmp_path / "home", gguf=gguf, cpu_flags=lambda: frozenset({"sse2"}))

    with pytest.raises(CpuUnsupported):
        await model.start()

    assert not (tmp_path / "home").exists()


async def test_a_missing_extra_is_told_by_start_and_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model_host, "is_installed", lambda: False)
    model = LocalModel(tmp_path / "home")

    with pytest.raises(ExtraMissing):
        await model.start()

    assert "pip install" in (await model.health()).detail


async def test_there_is_no_endpoint_before_the_start(tmp_path: Path) -> None:
    model = LocalModel(tmp_path / "home")

    with pytest.raises(LocalModelUnavailable, match="not started"):
        _ = model.endpoint


def test_importing_the_parents_side_loads_no_heavy_library() -> None:
    program = "import sys, app.agents.llm.local_model; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "."},
    ).stdout.split()

    assert not {"xllamacpp", "pydantic", "httpx", "pydantic_ai"} & set(loaded)
