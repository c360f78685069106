"""How the rounds of a scenario are printed."""

import math
from collections.abc import Sequence

from bench.edge.rounds import Better, Measure, Rounds

OURS = "portico"
NOISE = 0.02  # a difference below this is not called a loss


def render(rounds: Rounds, measures: Sequence[Measure]) -> list[str]:
    """Draw medians by target; the last column tells, beside each peer, where Portico is worse than it."""
    head = ["", *(f"{one.name} [{one.unit}]" for one in measures), "failed", "where we lose"]
    rows = [head]
    for target in rounds.targets:
        medians = (one.show(rounds.median(target, one)) for one in measures)
        rows.append([target, *medians, str(rounds.failed(target)), losses(rounds, measures, target)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return f"  {first.strip().ljust(widths[0])}  {'  '.join(numbers)}  {last.strip()}".rstrip()


def losses(rounds: Rounds, measures: Sequence[Measure], peer: str) -> str:
    """Name each measure in which Portico is worse than the peer, as the median ratio Portico / peer."""
    if peer.startswith(OURS) or OURS not in rounds.targets:
        return ""
    ratios = [(one, rounds.ratio(one, OURS, peer)) for one in measures if one.better is not Better.NEITHER]
    lost = [f"{one.name} x{ratio:.2f}" for one, ratio in ratios if _is_worse(one, ratio)]
    return ", ".join(lost) or "nowhere"


def _is_worse(measure: Measure, ratio: float) -> bool:
    if math.isnan(ratio):
        return True
    return ratio < 1 - NOISE if measure.better is Better.MORE else ratio > 1 + NOISE
