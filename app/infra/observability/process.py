"""What this process and its machine have left: measured for `/metrics`, and judged for the health registry."""

import asyncio
import gc
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.infra.observability.health import NotWell
from app.infra.observability.metrics import Family, by_labels, counter, gauge, labels_of

LOW_DISK_BYTES = 512 * 1024**2
FULL_SHARE = 0.9
"""of the open files a process may have"""

_COUNTED = Path("/proc/self/fd")
_DESCRIPTORS = Path("/dev/fd")
_STATM = Path("/proc/self/statm")
_STARTED_S = time.time()


def process_families(version: str) -> Iterable[Family]:
    """Measure this process, by the names every Prometheus client uses, and the version that runs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    build = labels_of(version=version, python=platform.python_version())
    yield by_labels("portico_build_info", "gauge", "The version that runs.", {build: 1}, merge="max")
    yield counter("process_cpu_seconds_total", "User and system time.", usage.ru_utime + usage.ru_stime)
    yield gauge("process_resident_memory_bytes", "Resident memory.", resident_bytes())
    yield gauge("process_open_fds", "Open files and sockets.", open_files())
    yield gauge("process_max_fds", "Files and sockets that may be open.", limit)
    yield gauge("process_start_time_seconds", "Start of the youngest worker, since the epoch.", _STARTED_S, merge="max")
    collections = {labels_of(generation=str(n)): one["collections"] for n, one in enumerate(gc.get_stats())}
    yield by_labels("python_gc_collections_total", "counter", "Runs of the garbage collector.", collections)


def resident_bytes() -> int:
    """Tell the memory of now; where the system does not say it cheaply, the most there was."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def open_files() -> int:
    """Count open files and sockets. Cost: one system call since Linux 6.2; elsewhere one look at each."""
    try:
        return _COUNTED.stat().st_size or _listed()
    except OSError:
        return _listed()


def _listed() -> int:
    try:
        return sum(1 for _ in _DESCRIPTORS.iterdir()) - 1  # the listing's own
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class Resources:
    """Judges what is left; `data_dir` may not exist yet."""

    data_dir: Path

    async def check(self) -> str:
        """Tell what is used and left. Errors: NotWell when disk or open files run out."""
        free = await asyncio.to_thread(_free_bytes, self.data_dir)  # a network disk may take its time
        files, limit = open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        words = (
            f"memory {resident_bytes() // 1024**2} MB, peak memory {peak_bytes() // 1024**2} MB, "
            f"{files} of {limit} open files, {free // 1024**2} MB of disk free, "
            f"load {', '.join(f'{value:.2f}' for value in os.getloadavg())}"
        )
        if free < LOW_DISK_BYTES or files > limit * FULL_SHARE:
            raise NotWell(words)
        return words


def _free_bytes(folder: Path) -> int:
    """Tell what is free where a folder is or will be."""
    return shutil.disk_usage(
        next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    ).free
