"""Which Python a sandbox of bubblewrap runs, and which folders of this machine it needs for that: read-only, no others.

Rule: nothing here is run; an interpreter is known by where it stands.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.agents.sandbox.ports import BackendAway

LOCAL = Path("/usr/local")
SHARED = (Path("/usr"), LOCAL)
"""prefixes that hold more than a Python: of these only the libraries are shown"""
LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/nix/store")
BESIDES = ("/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
SYSTEM_PYTHONS = (Path("/usr/bin/python3"), Path("/usr/local/bin/python3"))


@dataclass(frozen=True, slots=True)
class Runtime:
    """`python` is run; `binds` are shown as they are, `links` as what they point to."""

    python: Path
    binds: Sequence[Path]
    links: Sequence[tuple[str, Path]]


def find_runtime(wanted: Path | None, uid: int) -> Runtime:
    """Find an interpreter that this user may run: the wanted one, else our own, else the system's.

    Errors: BackendAway.
    """
    if wanted is not None:
        if not wanted.exists():
            raise BackendAway(f"there is no {wanted}; mend SANDBOX_PYTHON")
        if not _is_open_to(wanted.resolve(), uid):
            raise BackendAway(f"user {uid} may not run {wanted}; name one in SANDBOX_PYTHON that everybody may")
        return runtime_of(wanted.absolute())
    own = Path(getattr(sys, "_base_executable", "") or sys.executable)
    for python in (own, *SYSTEM_PYTHONS):
        if python.exists() and _is_open_to(python.resolve(), uid):
            return runtime_of(python.resolve())
    raise BackendAway(f"there is no Python that user {uid} may run; install python3, or set SANDBOX_PYTHON")


def runtime_of(python: Path) -> Runtime:
    """Tell what an interpreter needs: its own prefix and that of its environment, or the libraries of a shared one."""
    real = python.resolve()
    prefixes = [real.parent.parent, *([python.parent.parent] if _is_environment(python) else [])]
    binds = [real if prefix in SHARED else prefix for prefix in prefixes]
    if prefixes[0] == LOCAL:
        binds.append(LOCAL / "lib")
    links: list[tuple[str, Path]] = []
    for name in (*LIBRARIES, *BESIDES):
        path = Path(name)
        if path.is_symlink() and name in {"/lib", "/lib64"}:
            links.append((str(path.readlink()), path))
        elif path.exists() and not any(path.is_relative_to(bind) for bind in binds):
            binds.append(path)
    return Runtime(python if _is_environment(python) else real, binds, links)


def _is_environment(python: Path) -> bool:
    return (python.parent.parent / "pyvenv.cfg").exists()


def _is_open_to(path: Path, uid: int) -> bool:
    """Tell whether a user of no group of ours may run a file; for ourselves the kernel knows best."""
    if uid == os.geteuid():
        return os.access(path, os.X_OK)
    if not _allows(path, uid, 0o5):
        return False
    return all(_allows(folder, uid, 0o1) for folder in path.parents)


def _allows(path: Path, uid: int, wanted: int) -> bool:
    found = path.stat()
    given = found.st_mode >> 6 if found.st_uid == uid else found.st_mode
    return given & wanted == wanted
