"""One process among its siblings: what it does, and which one it is.

Whoever serves hands it to the container (`portico serve` its own, everybody else the defaults of `InfraProvider`).
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class ProcessRole(StrEnum):
    """What a process does: answer requests, work on runs, or, where there is no other process, both.

    One that is headless works on the runs that it asks for itself, and answers nobody.
    """

    ALL = "all"
    WEB = "web"
    WORKER = "worker"
    HEADLESS = "headless"


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Which process this is, counted from 0; one that is started again keeps its index.

    The first `count` of them answer requests, the `others` behind them work on runs. `folder` is shared by all and
    closed to other accounts (mode 0700); its path is short enough for Unix sockets. It is None where there are no
    siblings. It is removed, with what is left in it, when the last one ends.
    `name` is that of this start alone; `predecessor` is that of the one before it at this index, which has ended.
    """

    index: int = 0
    count: int = 1
    folder: Path | None = None
    others: int = 0
    name: str = ""
    predecessor: str = ""

    @property
    def total(self) -> int:
        return self.count + self.others
