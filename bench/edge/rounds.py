"""What was measured: samples by target and round, their medians, and how one target stands to another.

Every target is measured once per round, and two targets are compared within a round only, so that a machine that drifts
does not decide the result.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from statistics import median


class Better(Enum):
    MORE = "more"
    LESS = "less"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the table: `name` is what the column about losses calls it."""

    name: str
    unit: str
    better: Better = Better.LESS
    digits: int = 0

    def show(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One target in one round; `failed` counts answers that were not what was asked for."""

    values: Mapping[Measure, float]
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Rounds:
    taken: tuple[Mapping[str, Sample], ...]

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.taken[0])

    def median(self, target: str, measure: Measure) -> float:
        return median(self._values(target, measure))

    def failed(self, target: str) -> int:
        return sum(one[target].failed for one in self.taken)

    def ratio(self, measure: Measure, target: str, peer: str) -> float:
        """Take the median of the rounds' ratios target / peer."""
        return median(_quotient(a, b) for a, b in self._pairs(measure, target, peer))

    def added(self, measure: Measure, target: str, peer: str) -> float:
        """Take the median of the rounds' differences target - peer, in the measure's unit."""
        return median(a - b for a, b in self._pairs(measure, target, peer))

    def _values(self, target: str, measure: Measure) -> Iterable[float]:
        return [one[target].values[measure] for one in self.taken]

    def _pairs(self, measure: Measure, target: str, peer: str) -> Iterable[tuple[float, float]]:
        return zip(self._values(target, measure), self._values(peer, measure), strict=True)


def _quotient(a: float, b: float) -> float:
    return a / b if b else math.inf


def percentile(values: Iterable[float], percent: float) -> float:
    """Give the smallest value that is not below `percent` of them (the nearest rank); NaN of none."""
    ranked = sorted(values)
    if not ranked:
        return math.nan
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]
