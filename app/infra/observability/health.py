"""What we depend on, asked in the background and remembered: a health request costs nothing and waits for nobody.

A check is an async function that returns words about how it is (or None) and raises when it is not well.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from app.infra.observability.metrics import Family, by_labels, labels_of
from app.kernel.draining import Draining
from app.kernel.errors import Fault

INTERVAL_S = 10
TIMEOUT_S = 3

log = structlog.get_logger()

type Check = Callable[[], Awaitable[str | None]]


class Wellness(StrEnum):
    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"


class NotWell(Exception):
    """A check's own word for what is wrong; the message is shown to STAFF."""


@dataclass(slots=True)
class Dependency:
    """`is_required` decides whether the gateway can do its work without it."""

    type: str
    name: str
    check: Check
    is_required: bool = False
    status: Wellness = Wellness.UNKNOWN
    details: str = ""


@dataclass(slots=True)
class HealthRegistry:
    """Concurrency: one per process; only checks, run in the background, write what was found."""

    dependencies: list[Dependency] = field(default_factory=list)
    draining: Draining = field(default_factory=Draining)

    def add(self, type_: str, name: str, check: Check, *, is_required: bool = False) -> None:
        self.dependencies.append(Dependency(type_, name, check, is_required=is_required))

    @property
    def is_ready(self) -> bool:
        """Whether everything required was found well, and this process is not about to stop."""
        are_well = all(one.status is Wellness.OK for one in self.dependencies if one.is_required)
        return are_well and not self.draining.has_begun

    @property
    def all(self) -> Sequence[Dependency]:
        return tuple(self.dependencies)

    def families(self) -> Iterable[Family]:
        """Measure how the dependencies are; of several workers' findings the worse counts."""
        found = {
            labels_of(type=one.type, name=one.name): float(one.status is Wellness.OK)
            for one in self.dependencies
            if one.status is not Wellness.UNKNOWN
        }
        yield by_labels("portico_dependency_up", "gauge", "Whether a dependency was found well.", found, merge="min")

    async def check_all(self) -> None:
        """Ask everything at once; bounded by the slowest check's three seconds."""
        await self.check(self.dependencies)

    async def check(self, dependencies: Iterable[Dependency]) -> None:
        """Ask those that have news before it is everybody's turn."""
        async with asyncio.TaskGroup() as group:
            for dependency in dependencies:
                group.create_task(_ask(dependency))


async def _ask(dependency: Dependency) -> None:
    before = dependency.status
    try:
        async with asyncio.timeout(TIMEOUT_S):
            dependency.details = await dependency.check() or ""
        dependency.status = Wellness.OK
    except TimeoutError:
        dependency.status, dependency.details = Wellness.ERROR, f"no answer within {TIMEOUT_S} s"
    except (NotWell, Fault, OSError) as error:
        dependency.status, dependency.details = Wellness.ERROR, str(error) or type(error).__name__
    except Exception:
        dependency.status, dependency.details = Wellness.ERROR, "the check itself failed; see the log"
        log.exception("health.check_failed", dependency=dependency.name)
    if before is not dependency.status and before is not Wellness.UNKNOWN:
        say = log.info if dependency.status is Wellness.OK else log.warning
        say("health.changed", dependency=dependency.name, status=dependency.status, details=dependency.details)
