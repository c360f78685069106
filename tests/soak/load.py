"""Starts the load of `generator.py`, names its phases, and reads what it counted."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.program import ROOT
from tests.soak.generator import LAST_ANSWERS_S, Plan

END_TIMEOUT_S = LAST_ANSWERS_S + 30


@dataclass(frozen=True, slots=True)
class Counted:
    """One phase. `failed` is everything but a whole answer of 2xx."""

    name: str
    outcomes: Counter[str]
    p50_ms: float
    p99_ms: float
    max_ms: float
    waited_p99_ms: float
    """from the moment they were sent, as the load may have had no connection free when they were due"""
    refused_p50_ms: float
    seconds: float

    @property
    def good(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome.startswith("2"))

    @property
    def failed(self) -> int:
        return self.outcomes.total() - self.good

    def __str__(self) -> str:
        bad = {outcome: count for outcome, count in self.outcomes.items() if not outcome.startswith("2")}
        return (
            f"{self.name}: {self.good:,} answered in {self.seconds:.1f} s, p50 {self.p50_ms:.1f}, "
            f"p99 {self.p99_ms:.1f}, longest {self.max_ms:.0f}, p99 from sending {self.waited_p99_ms:.0f} ms; "
            f"failed {bad or 'none'}"
        )


@dataclass(slots=True)
class Running:
    """A load under way; `phases` are there after the block."""

    process: subprocess.Popen[str]
    phases: dict[str, Counted] = field(default_factory=dict)
    late_max_ms: float = 0
    """how late the generator itself was: what machine and interpreter add to the latencies"""

    def begin(self, phase: str) -> None:
        """Count what is due from now on under this name."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{phase}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Stop, and wait for the last answers; the end of the block does the same."""
        if not self.phases:
            out, _ = self.process.communicate(timeout=END_TIMEOUT_S)
            counted = json.loads(out)
            rows = [Counted(**{**row, "outcomes": Counter(row["outcomes"])}) for row in counted["phases"]]
            self.phases = {row.name: row for row in rows}
            self.late_max_ms = counted["late_max_ms"]

    @property
    def outcomes(self) -> Counter[str]:
        return sum((phase.outcomes for phase in self.phases.values()), Counter[str]())

    @property
    def failed(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if not outcome.startswith("2")}

    def told(self, title: str) -> str:
        lines = [f"{title} (the load itself was up to {self.late_max_ms:.0f} ms late)"]
        return "\n    ".join(lines + [str(phase) for phase in self.phases.values()])


def a_request(path: str, *, method: str = "GET", token: str = "", body: str = "") -> str:
    lines = [f"{method} {path} HTTP/1.1", "host: front.example"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


@contextmanager
def load_on(
    port: int, *requests: str, connections: int = 32, per_s: float = 0, is_fresh: bool = False, depth: int = 1
) -> Iterator[Running]:
    """Have requests sent for as long as the block lasts."""
    plan = Plan(port, requests, connections, per_s, is_fresh, depth)
    command = [sys.executable, "-m", "tests.soak.generator", json.dumps(dataclasses.asdict(plan))]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    running = Running(process)
    try:
        assert process.stdout.readline() == "running\n"
        yield running
        running.end()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
