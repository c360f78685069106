"""`python -m bench edge`: the gateway beside nginx, Envoy and what else is installed, in rounds, on this machine."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.edge import wrk
from bench.edge.one_connection import AnswerLost
from bench.edge.rounds import Rounds, Sample
from bench.edge.scenarios import ALL, Pace, Scenario
from bench.edge.site import SMALL
from bench.edge.stand import Stand, say, standing
from bench.edge.table import OURS, render
from bench.edge.target import Target

NAMES = tuple(one.name for one in ALL)
RATIO_PEERS = ("nginx", "envoy")
LOST = (AnswerLost, wrk.NoReport, OSError, subprocess.TimeoutExpired)


def run(pace: Pace, *, only: Sequence[str] = ()) -> int:
    """Print a table per scenario and, last, how Portico stands to nginx and Envoy; 1 if an answer of ours failed.

    A goal that is missed is printed, and is no failure of the run: machines differ.
    Errors: ProgramMissing, DidNotStart.
    """
    print(machine(), flush=True)
    status, last = 0, ""
    with standing(pace.body_bytes) as stand:
        warm: set[Target] = set()
        for scenario in (one for one in ALL if not only or one.name in only):
            print(f"\n{scenario.name}: {scenario.title}", flush=True)
            try:
                rounds = _measure(stand, scenario, pace, warm)
            except LOST as lost:
                print(f"  FAILED: {lost!r}", flush=True)
                status = 1
                continue
            if rounds is None:
                print("  skipped: there is nothing to compare it with", flush=True)
                continue
            _print(scenario, rounds)
            status |= bool(rounds.failed(OURS))
            last = ratios(rounds) if scenario.is_headline else last
    if last:
        print(f"\n{last}", flush=True)
    return status


def _measure(stand: Stand, scenario: Scenario, pace: Pace, warm: set[Target]) -> Rounds | None:
    """Measure every target once per round; None where fewer than two are there."""
    targets = stand.targets(scenario.targets, is_tls=scenario.is_tls)
    if len(targets) < 2:
        return None
    for target in (one for one in targets if one not in warm):
        wrk.run(target, wrk.Load(SMALL, seconds=1))
        warm.add(target)
    count = scenario.rounds(pace)
    taken = []
    for number in range(1, count + 1):
        say(f"{scenario.name}: round {number} of {count}")
        taken.append(_round(stand, scenario, pace, targets))
    return Rounds(tuple(taken))


def _round(stand: Stand, scenario: Scenario, pace: Pace, targets: Iterable[Target]) -> Mapping[str, Sample]:
    samples = {}
    for target in targets:
        samples[target.name] = scenario.act(stand, target, pace)
        stand.empty_logs()
    return samples


def _print(scenario: Scenario, rounds: Rounds) -> None:
    judged = (goal.judge(rounds) for goal in scenario.goals)
    lines = render(rounds, scenario.measures) + [f"  {line}" for line in judged if line]
    print("\n".join(lines), flush=True)


def ratios(rounds: Rounds) -> str:
    """Write Portico / peer for requests per second (more is better) and CPU per request (less is better)."""
    wanted = [
        (f"ratio_{name}_{peer}", measure, peer)
        for name, measure in (("rps", wrk.REQUESTS), ("cpu", wrk.CPU))
        for peer in RATIO_PEERS
        if peer in rounds.targets
    ]
    return " ".join(f"{name}={rounds.ratio(measure, OURS, peer):.2f}" for name, measure, peer in wanted)


def machine() -> str:
    """Tell what it is measured on, and whether others are at work there."""
    known = Path("/proc/cpuinfo").read_text("utf-8")
    model = next((line.partition(": ")[2] for line in known.splitlines() if line.startswith("model name")), "unknown")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = "; others are at work here, so trust the ratios more than the numbers" if load > cores / 4 else ""
    return f"{cores} cores of {model}, load average {load:.2f} at the start{busy}"
