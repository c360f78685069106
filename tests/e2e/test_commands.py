"""The small commands of `portico`, each as a process: quick to say what they do, plain about what is missing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import public_pem
from tests.e2e.program import PORTICO, ROOT, a_home, bare_environment, free_port, run

COMMANDS = ("demo", "serve", "routes", "db", "agents", "doctor", "token")


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


def test_help_names_every_command(home: Path) -> None:
    shown = run(home, "--help")

    assert shown.returncode == 0
    assert all(f"    {command} " in shown.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(home: Path, command: str) -> None:
    shown = run(home, command, "--help")

    assert shown.returncode == 0
    assert shown.stdout.startswith(f"usage: portico {command}")


def test_help_is_quick_because_it_imports_nothing_heavy(home: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", PORTICO, "--help"],
        cwd=home,
        env=bare_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )

    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines() if line.startswith("import time")}
    assert "app.surfaces.cli.main" in imported
    assert (
        imported & {"litestar", "pydantic", "sqlalchemy", "uvicorn", "pydantic_ai", "app.main", "app.settings"} == set()
    )


def test_the_version_is_the_packages_own(home: Path) -> None:
    shown = run(home, "--version")

    assert shown.returncode == 0
    assert shown.stdout == "portico 0.1.0\n"


@pytest.mark.parametrize(
    "arguments", [[], ["serv"], ["serve", "--port", "65536"], ["routes", "explain", "GET"], ["token"], ["db"]]
)
def test_bad_usage_exits_with_two_and_says_how_it_is_used(home: Path, arguments: list[str]) -> None:
    refused = run(home, *arguments)

    assert refused.returncode == 2
    assert "usage: portico" in refused.stdout + refused.stderr


def test_agents_lists_those_that_were_found(home: Path) -> None:
    shown = run(home, "agents")

    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["agenda", "assistant", "echo"]


def test_a_token_without_a_demo_names_the_mend(home: Path) -> None:
    refused = run(home, "token", "--sub", "7", "--data-dir", str(home / "nowhere"))

    assert refused.returncode == 1
    assert "run `portico demo` once" in refused.stderr


def test_the_doctor_names_what_is_wrong_and_what_is_right(home: Path, database_dsn: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    fleet = dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), away)

    well = run(home, "doctor", env=fleet | {"POSTGRES_DSN": database_dsn, "JWT_PUBLIC_KEY": public_pem()})
    sick = run(home, "doctor", env=fleet)

    assert well.returncode == 0
    assert "database     answers (POSTGRES_DSN)" in well.stdout
    assert f"upstream     agenda: {away} WRONG" in well.stdout
    assert sick.returncode == 2
    assert "JWT_PUBLIC_KEY" in sick.stdout


def test_a_broken_agent_stops_the_start_with_the_file_and_the_reason(home: Path) -> None:
    (home / "broken_agents.py").write_text("agent = undefined\n")
    info = home / "broken_agents-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-agents\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[portico.agents]\nbroken = broken_agents\n")

    refused = run(home, "agents", env={"PYTHONPATH": str(home)})

    assert refused.returncode == 2
    assert "broken_agents" in refused.stderr
    assert "undefined" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_the_program_is_a_module_too(home: Path) -> None:
    shown = run(home, "--version", program=(sys.executable, "-m", "app"), env={"PYTHONPATH": str(ROOT)})

    assert shown.stdout.startswith("portico ")
