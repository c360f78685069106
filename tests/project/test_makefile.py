"""The commands that must work before there is anything but Python and make: find Python, find uv, list the targets."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FINAL = 0xF0


@dataclass(frozen=True, slots=True)
class Machine:
    """A home, a folder on PATH and a copy of `.ci`, in which only what a test installs exists."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def checkout(self) -> Path:
        return self.root / "checkout"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": str(self.bin), "HOME": str(self.home), **environment}
        command = ["/bin/sh", str(self.checkout / ".ci" / script)]
        return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "a machine")
    machine.home.mkdir(parents=True)
    machine.bin.mkdir()
    shutil.copytree(ROOT / ".ci", machine.checkout / ".ci")
    for name in ("cat", "cksum", "id", "rm", "uname"):
        (machine.bin / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    return machine


def _install(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


def _python(path: Path, minor: int, micro: int = 0) -> Path:
    """A stand-in that answers the finder's question as a released CPython 3.minor.micro does."""
    return _install(path, f"echo {0x03 << 24 | minor << 16 | micro << 8 | FINAL} '{path}'")


def _pyenv_python(root: Path, version: str) -> Path:
    _, minor, micro = version.split(".")
    return _python(root / "versions" / version / "bin" / "python3", int(minor), int(micro))


def test_the_newest_python_on_the_path_is_found(machine: Machine) -> None:
    _python(machine.bin / "python3", 12, 9)
    newest = _python(machine.bin / "python3.14", 14)
    _python(machine.bin / "python3.13", 13, 7)

    found = machine.run("find-python")

    assert found.stdout == f"{newest}\n"


def test_a_newer_micro_version_wins(machine: Machine) -> None:
    _python(machine.bin / "python3.13", 13, 2)
    newest = _pyenv_python(machine.home / ".pyenv", "3.13.11")

    found = machine.run("find-python")

    assert found.stdout == f"{newest}\n"


@pytest.mark.parametrize("place", ["PYENV_ROOT", "home", "shims on PATH"])
def test_pythons_of_pyenv_are_found(machine: Machine, place: str) -> None:
    root = machine.home / ".pyenv" if place == "home" else machine.root / "some pyenv"
    newest = _pyenv_python(root, "3.13.0")
    _pyenv_python(root, "3.12.1")
    (root / "shims").mkdir()
    environment: Mapping[str, str] = {
        "PYENV_ROOT": {"PYENV_ROOT": str(root)},
        "home": {},
        "shims on PATH": {"PATH": f"{machine.bin}:{root / 'shims'}"},
    }[place]

    found = machine.run("find-python", **environment)

    assert found.stdout == f"{newest}\n"


def test_a_shim_that_does_not_run_is_passed_over(machine: Machine) -> None:
    _install(machine.bin / "python3.14", "echo 'pyenv: python3.14: command not found' >&2; exit 127")
    works = _python(machine.bin / "python3.12", 12)

    found = machine.run("find-python")

    assert found.stdout == f"{works}\n"


def test_an_interpreter_that_declines_is_passed_over(machine: Machine) -> None:
    _install(machine.bin / "python3", "exit 0")

    found = machine.run("find-python")

    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("home", ["", "/nonexistent"], ids=["empty", "missing"])
def test_python_is_found_without_a_home(machine: Machine, home: str) -> None:
    works = _python(machine.bin / "python3", 13)

    found = machine.run("find-python", HOME=home)

    assert found.stdout == f"{works}\n"


def test_another_interpreter_is_taken_from_python(machine: Machine) -> None:
    _python(machine.bin / "python3.14", 14)
    asked = _install(machine.root / "mine" / "python3", 'echo "$0"')

    found = machine.run("find-python", PYTHON=str(asked))

    assert found.stdout == f"{asked}\n"


@pytest.mark.parametrize("script", ["exit 1", None], ids=["too old", "missing"])
def test_a_python_that_cannot_be_used_is_named_and_not_replaced(machine: Machine, script: str | None) -> None:
    _python(machine.bin / "python3.14", 14)
    asked = machine.root / "mine" / "python3"
    if script is not None:
        _install(asked, script)

    refused = machine.run("find-python", PYTHON=str(asked))

    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"PYTHON={asked}" in refused.stderr


def test_the_uv_on_the_path_is_used(machine: Machine) -> None:
    uv = _install(machine.bin / "uv", "echo 'uv 0.13.8 (x86_64)'")

    found = machine.run("find-uv")

    assert found.stdout == f"{uv}\n"


@pytest.mark.parametrize("answer", ["echo 'uv 0.4.30'", "exit 127"], ids=["too old", "a dead shim"])
def test_our_own_uv_stands_in_for_one_that_cannot_be_used(machine: Machine, answer: str) -> None:
    _install(machine.bin / "uv", answer)
    _install(machine.checkout / ".uv" / "bin" / "uv", "echo 'uv 0.13.8'")

    found = machine.run("find-uv")

    assert found.stdout == ".uv/bin/uv\n"


def test_uv_is_installed_with_venv_and_pip_where_it_is_missing(machine: Machine) -> None:
    own = machine.checkout / ".uv" / "bin"
    _install(
        own / "python", f"case \"$*\" in *install*) echo 'echo uv 0.13.8' >'{own}/uv'; /bin/chmod +x '{own}/uv' ;; esac"
    )
    _install(machine.bin / "python3", "exit 0")

    found = machine.run("find-uv")

    assert found.stdout == ".uv/bin/uv\n"
    assert "installing uv into .uv/" in found.stderr


@pytest.mark.parametrize(
    ("system", "mend"),
    [("Linux", "apt-get install -y python3-venv"), ("Darwin", "brew install python")],
)
@pytest.mark.parametrize("python", ['case "$*" in *venv*) exit 1 ;; esac', None], ids=["no venv", "no python"])
def test_a_missing_venv_is_answered_with_the_line_that_mends_it(
    machine: Machine, system: str, mend: str, python: str | None
) -> None:
    (machine.bin / "uname").unlink()
    _install(machine.bin / "uname", f"echo {system}")
    if python is not None:
        _install(machine.bin / "python3", python)

    refused = machine.run("find-uv")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith(f"{mend}\n")
    assert refused.stderr.count("\n") == 1


@pytest.fixture
def synced(machine: Machine) -> Machine:
    """A checkout whose environment was just made, by a stand-in for uv that notes how it was called."""
    (machine.checkout / "uv.lock").write_text("lock", "utf-8")
    (machine.checkout / "pyproject.toml").write_text("project", "utf-8")
    _python(machine.bin / "python3", 13)
    _install(
        machine.bin / "uv",
        """
        if [ "$1" = --version ]; then echo uv 0.13.8; exit; fi
        echo "$* cache=${UV_CACHE_DIR:-its own}" >>calls
        /bin/mkdir -p .venv/bin
        echo '#!/bin/sh' >.venv/bin/python
        /bin/chmod +x .venv/bin/python
        """,
    )
    assert machine.run("sync").returncode == 0
    return machine


def _calls(machine: Machine) -> list[str]:
    return (machine.checkout / "calls").read_text("utf-8").splitlines()


def test_the_first_command_makes_the_environment_of_the_lock_file(synced: Machine) -> None:
    (call,) = _calls(synced)

    assert call == f"sync --locked --quiet --compile-bytecode --python {synced.bin / 'python3'} cache=its own"


def test_a_second_command_finds_it_made(synced: Machine) -> None:
    again = synced.run("sync")

    assert (again.returncode, again.stderr) == (0, "")
    assert len(_calls(synced)) == 1


@pytest.mark.parametrize("file", ["uv.lock", "pyproject.toml"])
def test_a_changed_project_file_brings_the_environment_up_to_date(synced: Machine, file: str) -> None:
    (synced.checkout / file).write_text("changed", "utf-8")

    synced.run("sync")

    assert _calls(synced)[1].startswith("sync --locked --quiet --compile-bytecode --python .venv/bin/python ")


def test_an_interpreter_that_vanished_is_replaced(synced: Machine) -> None:
    (synced.checkout / ".venv" / "bin" / "python").unlink()

    synced.run("sync")

    assert _calls(synced)[1].startswith(f"sync --locked --quiet --compile-bytecode --python {synced.bin / 'python3'} ")


def test_an_environment_that_was_moved_is_made_anew(synced: Machine) -> None:
    moved = Machine(synced.root.with_name("another machine"))
    synced.root.rename(moved.root)
    left_over = moved.checkout / ".venv" / "bin" / "portico"
    left_over.touch()

    moved.run("sync")

    assert len(_calls(moved)) == 2
    assert not left_over.exists()


def test_another_interpreter_is_handed_to_uv(synced: Machine) -> None:
    asked = _install(synced.root / "mine" / "python3", 'echo "$0"')

    synced.run("sync", PYTHON=str(asked))

    assert f"--python {asked} " in _calls(synced)[1]


@pytest.mark.parametrize("home", ["", "/nonexistent"], ids=["empty", "missing"])
def test_without_a_home_the_cache_lies_beside_uv(synced: Machine, home: str) -> None:
    (synced.checkout / "uv.lock").write_text("changed", "utf-8")

    synced.run("sync", HOME=home)

    assert _calls(synced)[1].endswith(f"cache={synced.checkout / '.uv' / 'cache'}")


@pytest.mark.parametrize("target", ["run", "test", "check", "bench", "soak", "fmt"])
def test_make_alone_lists_the_commands(target: str) -> None:
    listed = subprocess.run(["make"], cwd=ROOT, env=_plain(), capture_output=True, text=True, timeout=60, check=True)

    assert f"make {target} " in listed.stdout


def test_check_ends_with_the_tests() -> None:
    steps = ("ruff format", "ruff check", "mypy", "lint-imports", "pytest")

    planned = subprocess.run(
        ["make", "--dry-run", "check"], cwd=ROOT, env=_plain(), capture_output=True, text=True, timeout=60, check=True
    )

    lines = [line for line in planned.stdout.splitlines() if "/bin/" in line]
    assert [next(step for step in steps if step in line) for line in lines] == list(steps)


def _plain() -> dict[str, str]:
    """Our environment without what a make around this test says to the ones inside it."""
    return {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
