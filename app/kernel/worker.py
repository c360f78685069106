"""One worker process among its siblings: which one this is, and whether it was told to stop.

Whoever serves hands both to the container (`portico serve` its own, everybody else the defaults of `InfraProvider`).
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Which of `count` workers this is, counted from 0; a worker that is started again keeps its index.

    `folder` is shared by the siblings and closed to other accounts (mode 0700); its path is short enough for Unix
    sockets. It is None where there are no siblings. It is removed, with what is left in it, when the last one ends.
    """

    index: int = 0
    count: int = 1
    folder: Path | None = None


@dataclass(slots=True)
class Draining:
    """Whether this process was told to stop; once true it stays true.

    It is not ready any more then, and an answer ends its connection; requests are still taken, for a while.
    """

    has_begun: bool = False
