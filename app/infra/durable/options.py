"""How the engine works, in numbers; tests and operators may say otherwise."""

from dataclasses import dataclass
from importlib import metadata

JOURNAL_FORMAT = 2
"""To be counted up by whoever changes a handler so that it cannot go on from the steps that an older one wrote."""


def code_version() -> str:
    """Name what runs here: the program's version and the format of its journal."""
    return f"{metadata.version('portico-gateway')}+j{JOURNAL_FORMAT}"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """`lease_s`: how long a worker may be silent before its runs are given to others; it beats three times in it.

    `slots`: runs at once. `drain_s`: how long runs may take to let go when the worker ends; `cancel_s`: when they are
    cancelled, before they are ended without their doing. `max_crashes`: after so many lost workers a run is given up.
    `predecessor` names a worker that is known to be dead: nobody needs to wait for its leases.
    """

    name: str
    slots: int = 10
    lease_s: float = 30.0
    poll_s: float = 1.0
    drain_s: float = 10.0
    cancel_s: float = 5.0
    max_crashes: int = 5
    first_retry_s: float = 0.5
    longest_retry_s: float = 300.0
    version: str = ""
    predecessor: str = ""

    @property
    def beat_s(self) -> float:
        return self.lease_s / 3
