import asyncio
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.infra.db.embedded.home import Home
from app.infra.db.embedded.postgres import EmbeddedPostgres
from tests.db.embedded_harness import (
    Program,
    an_empty_home,
    kill,
    needs_binaries,
    nothing_runs_on,
    postmaster_pid,
    processes_on,
    query,
    the,
    watcher_pid,
)

LOG_TWICE_AND_LOCKS = ("postgres.log", "postgres.log", "users.lock", "watch.lock")

pytestmark = needs_binaries


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    with an_empty_home() as folder:
        yield folder


@pytest.fixture
def home(shared: Path) -> Iterator[Path]:
    """One folder for the tests of this module, because making a database takes a second; nothing runs in between."""
    yield shared
    nothing_runs_on(shared)


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with an_empty_home() as folder:
        yield folder


async def test_the_dsn_known_before_the_start_reaches_a_database_that_knows_letters(home: Path) -> None:
    database = EmbeddedPostgres(home)
    dsn = database.dsn

    await asyncio.to_thread(database.acquire)
    engine = create_async_engine(dsn)
    async with engine.connect() as connection:
        answers = (await connection.execute(text("select lower('ÉCOLE'), current_setting('fsync')"))).one()
    await engine.dispose()
    database.release()

    assert tuple(answers) == ("école", "on")
    assert EmbeddedPostgres(home).dsn == dsn


def test_a_second_acquire_does_nothing_and_one_release_ends_it(home: Path) -> None:
    database = EmbeddedPostgres(home)
    before = set(threading.enumerate())
    database.acquire()

    database.acquire()
    started = set(threading.enumerate()) - before
    database.release()

    assert [thread.name for thread in started] == ["embedded-postgres-guard"]
    nothing_runs_on(home)


async def test_a_share_outlives_the_other_shares_of_its_process(home: Path) -> None:
    first, second = EmbeddedPostgres(home), EmbeddedPostgres(home, database="another")
    await asyncio.to_thread(first.acquire)
    await asyncio.to_thread(second.acquire)
    server = postmaster_pid(home)

    await asyncio.to_thread(first.release)

    assert await query(home, "select count(*) from pg_database where datname = 'another'") == 1
    assert postmaster_pid(home) == server
    second.release()


def test_a_folder_taken_from_under_its_program_is_not_made_again(empty_home: Path) -> None:
    program = Program.start(empty_home).ready()

    empty_home.rename(empty_home.parent / "taken away")
    kill(*processes_on(empty_home))

    assert "embedded_postgres.watcher_missed" in program.says()
    assert not empty_home.exists()
    assert not processes_on(empty_home)
    program.kill()


def test_a_released_database_can_be_acquired_again(home: Path) -> None:
    database = EmbeddedPostgres(home)
    database.acquire()
    database.release()

    database.acquire()

    assert postmaster_pid(home) is not None
    database.release()


def test_programs_starting_at_once_on_an_empty_folder_share_one_server(empty_home: Path) -> None:
    home = empty_home
    programs = [Program.start(home) for _ in range(5)]

    for program in programs:
        program.ready()
    servers = [command for command in processes_on(home).values() if f"postgres -D {home}/" in command]
    watches = Home(home).log.read_text().count("on watch")
    for program in programs:
        program.release()

    assert len(servers) == 1
    assert watches == 1
    assert [path.name for path in home.iterdir() if path.is_dir() and path.name.isdigit()] == ["18"]
    nothing_runs_on(home)
    for program in programs:
        program.end()


def test_the_server_stops_when_its_last_user_leaves_and_not_before(home: Path) -> None:
    first, second = Program.start(home).ready(), Program.start(home).ready()
    server = postmaster_pid(home)

    first.release()
    first.end()
    after_the_first = postmaster_pid(home)
    second.release()

    assert after_the_first == server
    nothing_runs_on(home)
    second.end()


def test_ctrl_c_in_the_terminal_reaches_neither_watcher_nor_server(home: Path) -> None:
    interrupted, other = Program.start(home).ready(), Program.start(home).ready()
    before = (watcher_pid(home), postmaster_pid(home))

    os.killpg(interrupted.pid, signal.SIGINT)
    interrupted.end()

    assert (watcher_pid(home), postmaster_pid(home)) == before
    assert all(os.getsid(the(pid)) not in {os.getsid(0), other.pid} for pid in before)
    other.kill()


def test_the_watcher_and_the_server_are_nobodys_children_and_know_no_secrets(home: Path) -> None:
    program = Program.start(home).ready()
    watcher, server = the(watcher_pid(home)), the(postmaster_pid(home))

    parents = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in (watcher, server)]
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (watcher, server) if os.geteuid() == 0]
    descriptors = sorted(str(fd.readlink()) for fd in Path(f"/proc/{watcher}/fd").iterdir())
    program.kill()

    assert parents[0] not in {program.pid, os.getpid()}
    assert parents[1] == watcher
    assert not any(b"A_SECRET" in environment for environment in environments)
    assert descriptors == sorted(["/dev/null", *(str(home / name) for name in LOG_TWICE_AND_LOCKS)])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
def test_started_by_root_the_server_runs_as_nobody_and_no_folder_above_is_opened(home: Path) -> None:
    mode_above = home.parent.stat().st_mode
    program = Program.start(home).ready()

    owner = Path(f"/proc/{the(postmaster_pid(home))}").stat().st_uid
    program.kill()

    assert owner == home.joinpath("18").stat().st_uid != 0
    assert stat.S_IMODE(home.joinpath("socket").stat().st_mode) == 0o700
    assert home.parent.stat().st_mode == mode_above


async def test_a_path_that_no_socket_can_have_is_served_from_a_short_one(empty_home: Path) -> None:
    odd = empty_home.parent / ("a folder, its 100% 'name': ü" + "x" * 100)
    database = EmbeddedPostgres(odd)

    await asyncio.to_thread(database.acquire)
    engine = create_async_engine(database.dsn)
    async with engine.connect() as connection:
        answer = await connection.scalar(text("select 1"))
    await engine.dispose()
    database.release()
    nothing_runs_on(odd)

    assert answer == 1
    Home(odd).socket_dir.rmdir()
