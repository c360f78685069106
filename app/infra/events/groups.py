"""Runs that are followed together: those of a chat, and those of a person."""

from dataclasses import dataclass, field
from uuid import UUID

from app.infra.events.readers import Reader
from app.kernel.ids import ChatId, RunId, UserId

SLACK_MS = 5000
"""how much later a run may come to be seen than one whose id is greater: hosts' clocks differ, transactions last"""

type Whose = ChatId | UserId


@dataclass(slots=True)
class Group:
    """Its readers follow each of its `runs`; what is new in it is not in front of `floor`, and was not seen.

    A chat's runs come in the order of their ids. A person's come nearly so, within `slack_ms`.
    """

    newest: RunId
    slack_ms: int = 0
    seen: set[RunId] = field(default_factory=set)
    readers: set[Reader] = field(default_factory=set)
    runs: set[RunId] = field(default_factory=set)

    @property
    def floor(self) -> RunId:
        return before(self.newest, self.slack_ms)

    def welcomes(self, run_id: RunId) -> bool:
        """Take note of a run; tell whether it is new."""
        if run_id <= self.floor or run_id in self.seen:
            return False
        self.newest = max(self.newest, run_id)
        if self.slack_ms:
            self.seen = {known for known in (*self.seen, run_id) if known > self.floor}
        return True


def before(run_id: RunId, slack_ms: int) -> RunId:
    """Give an id in front of those that were made in the milliseconds before this one; itself, for none."""
    return run_id if not slack_ms else RunId(UUID(int=max(0, (run_id.int >> 80) - slack_ms) << 80))
