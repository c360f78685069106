"""Which backend is chosen, and that nothing runs where none isolates."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.agents.sandbox.bubblewrap import Bubblewrap
from app.agents.sandbox.docker import Docker
from app.agents.sandbox.enclosure import KEEPER
from app.agents.sandbox.making import make_sandbox
from app.agents.sandbox.ports import Backend, BackendAway, Program, Ran, Show
from app.agents.sandbox.probe import Bait, flaw_in
from app.agents.sandbox.sandbox import Sandbox, SandboxRefused
from app.infra.observability.health import NotWell
from tests.unit.agents.sandbox.rig import SMALL, usable

TIGHT = json.dumps({"files of the host": False, "the network": False})
LEAKY = json.dumps({"files of the host": True, "the network": False})

FOLDER = "/work"  # where programs find themselves


class Scripted:
    """A backend that answers a probe with what it is told to, and a program with its name; or is away."""

    words = "of a test"
    probe = ""

    def __init__(self, name: str, answer: str | BackendAway) -> None:
        self.name = name
        self.answer = answer
        self.ran: list[str] = []

    async def run(self, program: Program, show: Show) -> Ran:
        if isinstance(self.answer, BackendAway):
            raise self.answer
        if "SECRET" in program.code:
            return Ran(0, self.answer)
        self.ran.append(program.code)
        return Ran(0, self.name)


def sandbox_of(*backends: Backend, is_wanted: bool = True) -> Sandbox:
    return Sandbox(backends, SMALL, asyncio.Semaphore(1), is_wanted=is_wanted)


async def nobody(text: str) -> None: ...


def a_program(tmp_path: Path) -> Program:
    return Program("print(1)", tmp_path, tmp_path, SMALL)


async def test_the_first_that_isolates_runs_programs_and_health_says_why_not_another(tmp_path: Path) -> None:
    away, leaky = Scripted("away", BackendAway("there is no engine")), Scripted("leaky", LEAKY)
    sandbox = sandbox_of(away, leaky, Scripted("tight", TIGHT), Scripted("last", TIGHT))

    ran = await sandbox.run(a_program(tmp_path), nobody)

    assert ran.output == "tight"
    assert leaky.ran == []
    assert await sandbox.health() == (
        "tight: of a test; not away: there is no engine; "
        "not leaky: it does not isolate: a program reached files of the host"
    )


async def test_where_none_isolates_everything_is_refused_with_every_reason(tmp_path: Path) -> None:
    leaky = Scripted("leaky", LEAKY)
    sandbox = sandbox_of(Scripted("away", BackendAway("install it")), leaky, Scripted("mute", "hello"))

    with pytest.raises(
        SandboxRefused, match=r"away: install it; leaky: it does not isolate.*; mute: its probe did not"
    ):
        await sandbox.run(a_program(tmp_path), nobody)

    assert leaky.ran == []
    with pytest.raises(NotWell, match="no backend isolates here"):
        await sandbox.health()


async def test_it_is_no_trouble_to_health_where_no_agent_runs_code() -> None:
    sandbox = sandbox_of(Scripted("leaky", LEAKY), is_wanted=False)
    with pytest.raises(SandboxRefused):
        await sandbox.choose()

    assert (await sandbox.health()).startswith("no backend isolates here")


async def test_one_that_breaks_gives_way_to_the_next(tmp_path: Path) -> None:
    first = Scripted("first", TIGHT)
    sandbox = sandbox_of(first, Scripted("second", TIGHT))
    assert (await sandbox.run(a_program(tmp_path), nobody)).output == "first"
    first.answer = BackendAway("the engine went away")

    assert (await sandbox.run(a_program(tmp_path), nobody)).output == "second"


async def test_a_probe_that_does_not_end_counts_as_no_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Scripted):
        async def run(self, program: Program, show: Show) -> Ran:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("app.agents.sandbox.sandbox.PROBE_S", 0.05)

    with pytest.raises(SandboxRefused, match="it ran nothing within"):
        await sandbox_of(Hanging("hanging", TIGHT)).choose()


async def test_turned_off_it_refuses_and_health_is_well() -> None:
    sandbox = make_sandbox("off", python=None, image="x", runtime="", limits=SMALL, places=1)

    with pytest.raises(SandboxRefused, match="SANDBOX=off"):
        await sandbox.choose()

    assert sandbox.is_refused
    assert "SANDBOX=off" in await sandbox.health()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("auto", ["docker", "bubblewrap", "monty"]), ("bubblewrap", ["bubblewrap"]), ("monty", ["monty"])],
)
def test_the_strongest_comes_first_and_one_that_is_named_stands_alone(wanted: str, names: list[str]) -> None:
    made = make_sandbox(wanted, python=None, image="x", runtime="", limits=SMALL, places=1)  # type: ignore[arg-type]

    assert [one.name for one in made.backends] == names


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "nothing was printed"),
        ("Traceback", "did not say"),
        ("[]", "did not say"),
        ("{}", "did not say"),
        ('{"the network": "no"}', "did not say"),
        ('{"the network": true}', "reached the network"),
        ('{"the network": false}', ""),
    ],
)
def test_only_a_probe_that_denies_everything_is_believed(output: str, words: str) -> None:
    found = flaw_in(output)

    assert (found == "") == (words == "")
    assert words in found


@pytest.mark.parametrize("name", ["bubblewrap", "docker", "monty"])
async def test_a_file_that_can_be_read_is_found_by_the_probe(name: str, tmp_path: Path) -> None:
    """The probe itself is probed: what it is to try for lies where it may read."""
    backend = await usable(name)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "secret").write_text("x")
    (tmp_path / "out").mkdir()
    code = Bait(f"{FOLDER}/secret", 1, "HOME" if name != "monty" else "X").written_into(backend.probe)

    ran = await backend.run(Program(code, folder, tmp_path / "out", SMALL), nobody)

    assert "files of the host" in flaw_in(ran.output)


def test_the_keeper_runs_nothing_outside_of_a_sandbox() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", KEEPER], input=b"", capture_output=True, timeout=20, check=False)

    assert done.returncode == 4
    assert b"this is no sandbox" in done.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Bubblewrap(), "install the package bubblewrap"),  # noqa: PLW0108 - as the others
        (lambda: Docker("x"), "there is no command docker"),
    ],
    ids=["bubblewrap", "docker"],
)
async def test_a_backend_that_is_not_installed_says_how_to_mend_it(
    make: Callable[[], Backend], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BackendAway, match=words):
        await make().run(a_program(tmp_path), nobody)


async def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    await usable("bubblewrap")

    with pytest.raises(BackendAway, match="SANDBOX_PYTHON"):
        await Bubblewrap(tmp_path / "python").run(a_program(tmp_path), nobody)
