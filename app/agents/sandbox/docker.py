"""Programs in a container of Docker, where an engine answers; Podman's command understands the same words.

Nothing of this machine is mounted, so the engine may be another machine's: files go in and out through the keeper.

Facts (docker run)
- Killing the command leaves the container running: it is removed by name. Its keeper ends too when its stdin closes.
- What stands in a tmpfs counts as the container's memory. Where its folder was there before, older engines give it
  that one's mode; so it is the user's own.
Rule: an image is never fetched here: that takes minutes, and it is the operator's to choose.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from app.agents.sandbox.enclosure import INODES_BESIDES, KEEPER, Enclosure, enclosed
from app.agents.sandbox.ports import MEGABYTE, BackendAway, Limits, Program, Ran, Show
from app.agents.sandbox.probe import OF_CPYTHON

PAGE_BYTES = 4096
SHARED_MEMORY_BYTES = 16 * MEGABYTE
KEEPER_BYTES = 64 * MEGABYTE
REMOVAL_S = 4.0
USER = 65534
ENVIRONMENT = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
"""what its command needs of ours, besides DOCKER_*"""


@dataclass(frozen=True, slots=True)
class Docker:
    """`image` has a `python3`, from 3.9 on; `runtime` is one of the engine's, such as gVisor's `runsc`."""

    image: str
    runtime: str = ""
    command: str = "docker"
    name: str = "docker"
    probe: str = OF_CPYTHON

    @property
    def words(self) -> str:
        return f"CPython on Linux, of the image {self.image} (Docker)"

    async def run(self, program: Program, show: Show) -> Ran:
        found = shutil.which(self.command)
        if found is None:
            raise BackendAway(f"there is no command {self.command}")
        name = f"portico-sandbox-{secrets.token_hex(8)}"
        enclosure = Enclosure(
            [found, *self.arguments(name, program.limits)],
            _environment(),
            stop=partial(_remove, found, name),
            counts_processes=False,  # users of containers are those of the machine: the engine counts
        )
        return await enclosed(program, show, enclosure)

    def arguments(self, name: str, limits: Limits) -> Sequence[str]:
        """Write down the container for `docker`."""
        files = limits.files_bytes + limits.files * PAGE_BYTES
        memory = str(limits.memory_bytes + 2 * files + SHARED_MEMORY_BYTES + KEEPER_BYTES)
        inodes = 2 * (limits.files + INODES_BESIDES)
        room = f"rw,nosuid,nodev,size={files},nr_inodes={inodes},uid={USER},gid={USER},mode=700"
        return (
            *("run", "--rm", "--interactive", "--pull", "never", "--name", name, "--log-driver", "none"),
            *("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--user", f"{USER}:{USER}", "--hostname", "sandbox", "--workdir", "/work"),
            *("--pids-limit", str(limits.processes + 1), "--memory", memory, "--memory-swap", memory, "--cpus", "1"),
            *("--ulimit", f"nofile={limits.open_files}", "--ulimit", "core=0"),
            *("--shm-size", str(SHARED_MEMORY_BYTES), "--tmpfs", f"/work:{room}"),
            *("--tmpfs", f"/tmp:{room}"),  # noqa: S108 - of the container
            *(("--runtime", self.runtime) if self.runtime else ()),
            *("--entrypoint", "python3", self.image, "-I", "-c", KEEPER),
        )


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name in ENVIRONMENT or name.startswith("DOCKER_")}


async def _remove(command: str, name: str) -> None:
    """Remove a container that may be running still; most are gone by now."""
    process = await asyncio.create_subprocess_exec(
        *(command, "rm", "--force", name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(_environment()),
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(REMOVAL_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
