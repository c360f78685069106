"""Work that a turn hands to another agent: the words between the assistant half and whoever runs its turns.

An errand is a run of its own, begun by the turn's, with its owner's authority: it has its own events, its own token and
its own journal, what it spends counts for the turn's budgets too, and it ends at the latest when the turn's run does.

Facts a reader of a turn's events is written against
- `agent_started {"tool_call_id", "run_id", "agent", "skill", "depth", "background"}`: another agent works for this
  turn, in the run of that id, whose events tell what it does; `depth` counts from 1 below the run that began it all.
- `agent_completed {"tool_call_id", "run_id", "agent", "skill", "depth", "status", "error", "usage"}`: it is over, told
  as soon as this run knows; `status` is that of the run, `error` is null or `{"type", "detail"}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.kernel.ids import RunId
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class Errand:
    """What is wanted of whom. `skill` names what its agent is to go by; `timeout_s` is from now, waiting included."""

    agent: str
    prompt: str
    skill: str = ""
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class ErrandEnd:
    """What an errand came to; `status` is that of its run, `error` `{"type", "detail"}`."""

    status: str
    text: str = ""
    error: Mapping[str, str] | None = None
    usage: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return self.status == "completed"


class ErrandRefused(Exception):
    """An errand is not begun, in words for the model."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ErrandsFull(ErrandRefused):
    """There is no place at the moment: the end of another may make one."""


class Errands(Protocol):
    """Who has others work for a turn. Not within a step of its journal. Concurrency: of one task."""

    @property
    def depth(self) -> int:
        """Tell how many runs this one was begun below; 0 where nobody's turn began it."""
        ...

    async def begin(self, errand: Errand) -> RunId:
        """Begin an errand, once: done again in a later process it gives the same, a refusal, too.

        Errors: ErrandRefused, ErrandsFull.
        """
        ...

    async def join(self, runs: Sequence[RunId], *, at_least: int) -> Mapping[RunId, ErrandEnd]:
        """Tell of those that are over, as soon as so many are, now or in a later process.

        The turn leaves its process while it waits. Errors: AgentTimedOut, when the turn's own time is over.
        """
        ...


class NobodyElse:
    """For a turn outside of a run: nothing would be left of an errand if the process died."""

    @property
    def depth(self) -> int:
        return 0

    async def begin(self, errand: Errand) -> RunId:
        raise ErrandRefused(f"No other agent can be asked here, so {errand.agent} was not. Do it yourself.")

    async def join(self, runs: Sequence[RunId], *, at_least: int) -> Mapping[RunId, ErrandEnd]:
        del runs, at_least
        return {}
