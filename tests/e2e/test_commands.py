"""The small commands of `portico`, each as a process: quick to say what they do, plain about what is missing."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.features.tasks.domain.task import NewTask, TaskType
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.infra.db.engine import Database, DatabaseOptions
from app.kernel.authority import Authority
from app.kernel.ids import TaskId, UserId, new_run_id
from tests.builders import public_pem
from tests.db.runs import a_queued_run, set_run
from tests.e2e.program import PORTICO, ROOT, a_home, bare_environment, free_port, run

COMMANDS = ("demo", "serve", "run", "routes", "db", "tasks", "agents", "doctor", "token")


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
    "arguments",
    [
        [],
        ["serv"],
        ["serve", "--port", "65536"],
        ["routes", "explain", "GET"],
        ["token"],
        ["db"],
        ["db", "forget", "--older-than", "0"],
    ],
)
def test_bad_usage_exits_with_two_and_says_how_it_is_used(home: Path, arguments: list[str]) -> None:
    refused = run(home, *arguments)

    assert refused.returncode == 2
    assert "usage: portico" in refused.stdout + refused.stderr


def test_agents_lists_those_that_were_found(home: Path) -> None:
    shown = run(home, "agents")

    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["agenda", "assistant", "coordinator", "echo"]


def test_a_token_without_a_demo_names_the_mend(home: Path) -> None:
    refused = run(home, "token", "--sub", "7", "--data-dir", str(home / "nowhere"))

    assert refused.returncode == 1
    assert "run `portico demo` once" in refused.stderr


def test_the_doctor_names_what_is_wrong_and_what_is_right(home: Path, database_dsn: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    fleet = dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), away)
    servers = {"far": {"url": away}, "near": {"command": "sh"}, "none": {"command": "no-such-program"}}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    fleet["MCP_CONFIG"] = str(home / "mcp.json")

    well = run(home, "doctor", env=fleet | {"POSTGRES_DSN": database_dsn, "JWT_PUBLIC_KEY": public_pem()})
    sick = run(home, "doctor", env=fleet)

    assert well.returncode == 0
    assert "database     answers (POSTGRES_DSN)" in well.stdout
    assert f"upstream     agenda: {away} WRONG" in well.stdout
    assert f"mcp          far: {away} WRONG" in well.stdout
    assert "mcp          near: sh is there" in well.stdout
    assert "mcp          none: no-such-program WRONG: there is no such program" in well.stdout
    assert sick.returncode == 2
    assert "JWT_PUBLIC_KEY" in sick.stdout


@pytest.mark.soak
def test_runs_that_are_long_over_are_counted_and_forgotten(home: Path, migrated_dsn: str) -> None:
    fleet = dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), "http://127.0.0.1:9")
    given = fleet | {"POSTGRES_DSN": migrated_dsn, "JWT_PUBLIC_KEY": public_pem()}
    asyncio.run(_a_run_of_a_month_ago(migrated_dsn))

    young = run(home, "db", "forget", "--older-than", "60", "--dry-run", env=given)
    counted = run(home, "db", "forget", "--dry-run", env=given)
    done = run(home, "db", "forget", env=given)
    again = run(home, "db", "forget", env=given)

    assert young.stdout == "would delete 0 events, 0 steps and 0 answers of 0 runs\n", young.stderr
    assert counted.stdout == "would delete 2 events, 1 steps and 0 answers of 1 runs\n"
    assert done.stdout == "deleted 2 events, 1 steps and 0 answers of 1 runs\n"
    assert again.stdout == "deleted 0 events, 0 steps and 0 answers of 0 runs\n"


@pytest.mark.soak
def test_what_owners_were_told_long_ago_is_counted_and_forgotten(home: Path, migrated_dsn: str) -> None:
    fleet = dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), "http://127.0.0.1:9")
    given = fleet | {"POSTGRES_DSN": migrated_dsn, "JWT_PUBLIC_KEY": public_pem()}
    asyncio.run(_a_notification_of_long_ago(migrated_dsn))
    forget = ("db", "forget-notifications", "--older-than", "3000")

    counted = run(home, *forget, "--dry-run", env=given)
    done = run(home, *forget, env=given)

    assert counted.stdout == "would delete 1 notifications\n", counted.stderr
    assert done.stdout == "deleted 1 notifications\n"


@pytest.mark.soak
def test_tasks_are_listed_and_what_ran_of_them_long_ago_is_forgotten(home: Path, migrated_dsn: str) -> None:
    fleet = dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), "http://127.0.0.1:9")
    given = fleet | {"POSTGRES_DSN": migrated_dsn, "JWT_PUBLIC_KEY": public_pem()}
    asyncio.run(_a_task_that_ran_twice_long_ago(migrated_dsn))
    forget = ("tasks", "forget", "--older-than", "3000")

    listed = run(home, "tasks", "--limit", "1", env=given)
    written = run(home, "tasks", "--json", env=given)
    counted = run(home, *forget, "--dry-run", env=given)
    done = run(home, *forget, env=given)
    again = run(home, *forget, env=given)

    heading, row = listed.stdout.splitlines()
    assert heading.split()[:3] == ["ID", "TYPE", "STATE"], listed.stderr
    assert row.split()[1:] == ["triggered", "enabled", "-", "-", "ann", "Sum", "it", "up."]
    assert json.loads(written.stdout)[0]["id"] == row.split()[0]
    assert counted.stdout == "would delete 1 runs of tasks\n"
    assert done.stdout == "deleted 1 runs of tasks\n"  # the last of each task stays
    assert again.stdout == "deleted 0 runs of tasks\n"


async def _a_task_that_ran_twice_long_ago(dsn: str) -> None:
    database, task_id = Database(DatabaseOptions(dsn=dsn)), TaskId(new_run_id())
    draft = NewTask(UserId("ann"), TaskType.TRIGGERED, "Sum it up.")
    over = "state = 'completed', finished_at = now() - interval '4000 days'"
    async with database.begin() as tx:
        await PostgresTaskStore().add(tx, task_id, draft, authority=Authority(UserId("ann"), ("user",)))
    first, last, child = [await a_queued_run(database) for _ in range(3)]
    for run_id in (first, last):
        await set_run(database, run_id, f"{over}, task_id = '{task_id}'")
    await set_run(database, child, f"{over}, parent_id = '{last}'")
    await database.aclose()


async def _a_notification_of_long_ago(dsn: str) -> None:
    database = Database(DatabaseOptions(dsn=dsn))
    told = (
        "INSERT INTO notifications (id, key, owner, kind, title, text, order_key, same_as, agent, details, created_at)"
        " VALUES (:id, 'long ago', 'ann', 'error', '', '', '', '', '', '{}', now() - interval '3001 days')"
    )
    async with database.engine.begin() as connection:
        await connection.execute(text(told), {"id": new_run_id()})
    await database.aclose()


async def _a_run_of_a_month_ago(dsn: str) -> None:
    database = Database(DatabaseOptions(dsn=dsn))
    run_id = new_run_id()
    run = (
        "INSERT INTO runs (id, kind, owner, trigger, input, state, is_ready, max_attempts, event_seq, finished_at)"
        " VALUES (:id, 'test', 'ann', 'manual', '{}', 'completed', false, 3, 3, now() - interval '31 days')"
    )
    events = "INSERT INTO run_events (run_id, seq, type, data) VALUES (:id, :seq, 'text_delta', '{}')"
    step = "INSERT INTO run_steps (run_id, name, number, epoch, is_done) VALUES (:id, 'a#1', 1, 1, true)"
    async with database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM runs"))
        await connection.execute(text(run), {"id": run_id})
        await connection.execute(text(events), [{"id": run_id, "seq": seq} for seq in (1, 2, 3)])
        await connection.execute(text(step), {"id": run_id})
    await database.aclose()


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
