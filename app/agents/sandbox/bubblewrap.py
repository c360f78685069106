"""Programs in bubblewrap: every namespace their own, a file system of memory, no system call they do not need.

Facts (bwrap(1) 0.8, user_namespaces(7), setrlimit(2))
- Without privileges a user namespace is what allows the others; a kernel or a container that forbids it forbids this.
- RLIMIT_NPROC does not hold for root, so a worker of root's becomes `nobody` before bwrap. Set inside of a user
  namespace it counts the processes of that namespace alone (Linux 5.14).
- A file system of memory without a size takes half of the machine: each has one here, or is read-only.
"""

import os
import platform
import pwd
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.agents.sandbox.enclosure import KEEPER, Enclosure, enclosed
from app.agents.sandbox.ports import MEGABYTE, BackendAway, Limits, Program, Ran, Show
from app.agents.sandbox.probe import OF_CPYTHON
from app.agents.sandbox.runtime import Runtime, find_runtime
from app.agents.sandbox.seccomp import MACHINES, filter_for

SHARED_MEMORY_BYTES = 16 * MEGABYTE
PAGE_BYTES = 4096
NOBODY = 65534

_BECOME = (
    "import os,sys;os.setgroups([]);u,g=map(int,sys.argv[1:3]);os.setresgid(g,g,g);os.setresuid(u,u,u);"
    "os.execv(sys.argv[3],sys.argv[3:])"
)
"""uvloop starts no program as another user, and what runs between fork and exec must not be Python in a process of
threads: so a second interpreter does it"""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """`python` is what the operator wants programs to be run by; None finds one."""

    python: Path | None = None
    name: str = "bubblewrap"
    words: str = "CPython with its standard library, on Linux (bubblewrap)"
    probe: str = OF_CPYTHON

    async def run(self, program: Program, show: Show) -> Ran:
        if not sys.platform.startswith("linux"):
            raise BackendAway("bubblewrap is of Linux")
        found = shutil.which("bwrap")
        if found is None:
            raise BackendAway("there is no bwrap: install the package bubblewrap")
        if platform.machine() not in MACHINES:
            raise BackendAway(f"there is no filter of system calls for {platform.machine()}")
        uid, gid = _account()
        runtime = find_runtime(self.python, uid)
        filter_, ours = os.pipe()
        try:
            try:
                os.write(ours, filter_for())  # shorter than a pipe holds
            finally:
                os.close(ours)
            command = [*_as_somebody(uid, gid), found, *arguments(runtime, program.limits, filter_)]
            return await enclosed(program, show, Enclosure(command, {}, (filter_,)))
        finally:
            os.close(filter_)


def _account() -> tuple[int, int]:
    """Give who runs bwrap: ourselves, or nobody in place of root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    with suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid
    return NOBODY, NOBODY


def _as_somebody(uid: int, gid: int) -> Sequence[str]:
    if uid == os.geteuid():
        return ()
    return (sys.executable, "-I", "-S", "-c", _BECOME, str(uid), str(gid))


def arguments(runtime: Runtime, limits: Limits, filter_: int) -> Sequence[str]:
    """Write down the sandbox for bwrap."""
    files = str(limits.files_bytes + limits.files * PAGE_BYTES)
    return (
        *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1"),
        *("--cap-drop", "ALL", "--clearenv", "--hostname", "sandbox", "--uid", "1000", "--gid", "1000"),
        *("--size", str(MEGABYTE), "--tmpfs", "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"),  # noqa: S108 - of the sandbox
        *("--size", files, "--tmpfs", "/work", "--size", files, "--tmpfs", "/tmp"),  # noqa: S108 - as above
        *(part for bind in runtime.binds for part in ("--ro-bind", str(bind), str(bind))),
        *(part for target, link in runtime.links for part in ("--symlink", target, str(link))),
        *("--remount-ro", "/", "--chdir", "/work", "--seccomp", str(filter_)),
        *("--", str(runtime.python), "-I", "-c", KEEPER),
    )
