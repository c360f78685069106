"""What the edge is held to, each against a peer of the same run."""

from dataclasses import dataclass
from enum import Enum

from bench.edge.rounds import Better, Measure, Rounds


class Against(Enum):
    """How a target stands to a peer: the quotient, or what it adds in the measure's unit."""

    RATIO = "of"
    ADDED = "over"


@dataclass(frozen=True, slots=True)
class Goal:
    """`measure` against `peer` is at least the limit where more is better, else at most."""

    measure: Measure
    peer: str
    limit: float
    against: Against = Against.RATIO
    target: str = "portico"

    def judge(self, rounds: Rounds) -> str | None:
        """Say in one line whether it is kept; None where one of the two was not measured."""
        if not {self.target, self.peer} <= set(rounds.targets):
            return None
        taken = rounds.ratio if self.against is Against.RATIO else rounds.added
        seen = taken(self.measure, self.target, self.peer)
        is_kept = seen >= self.limit if self.measure.better is Better.MORE else seen <= self.limit
        bound = "at least" if self.measure.better is Better.MORE else "at most"
        unit = f" {self.measure.unit}" if self.against is Against.ADDED else ""
        told = f"{self.measure.name} {seen:.2f}{unit} {self.against.value} {self.peer}'s, {bound} {self.limit:g}{unit}"
        return f"goal {'kept  ' if is_kept else 'MISSED'} {told}"
