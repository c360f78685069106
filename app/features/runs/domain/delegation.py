"""What a run that was handed on is told: the prompt, in whose name, how deep it is, and until when. Never a token."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from app.features.runs.domain.agent_work import OrderUnreadable, authority_of
from app.infra.durable.ports import FamilyLimits, Job
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.values import Json

KIND = "delegation"
TRIGGER = "delegation"
IN_ALL = 100
"""so many errands there may be below one run, however deep: a bound on what a family without a budget can do"""


@dataclass(frozen=True, slots=True)
class DelegationLimits:
    """How deep errands may go below the run that began it all, and how many of them may be at work at once."""

    depth: int = 3
    at_once: int = 6

    @property
    def of_family(self) -> FamilyLimits:
        return FamilyLimits(self.at_once, IN_ALL)


@dataclass(frozen=True, slots=True)
class DelegationOrder:
    """`until` is the latest of the moments at which somebody above stops waiting; `thread` is that of the root."""

    prompt: str
    authority: Authority
    depth: int
    until: datetime
    skill: str = ""
    thread: str = ""
    request_id: str = ""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Errors: OrderUnreadable, for what this version has not written."""
        match job.input:
            case {
                "prompt": str(prompt),
                "depth": int(depth),
                "until": str(until),
                "skill": str(skill),
                "thread": str(thread),
                "request_id": str(request_id),
            }:
                pass
            case _:
                raise OrderUnreadable
        try:
            moment = datetime.fromisoformat(until)
        except ValueError as error:
            raise OrderUnreadable from error
        return cls(prompt, authority_of(job), depth, moment, skill, thread, request_id)

    def as_input(self) -> dict[str, Json]:
        return {
            "prompt": self.prompt,
            INPUT_KEY: self.authority.as_json(),
            "depth": self.depth,
            "until": self.until.isoformat(),
            "skill": self.skill,
            "thread": self.thread,
            "request_id": self.request_id,
        }
