"""A closed loop: as many requests as a target takes, by wrk.

`wrk` itself takes most of a core; its latencies are those of a saturated target.
"""

import math
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.edge.rounds import Better, Measure, Sample
from bench.edge.target import Target
from bench.programs import cpu_s, require

REQUESTS = Measure("requests", "/s", Better.MORE)
CPU = Measure("CPU", "us/request", digits=1)
P50 = Measure("p50", "ms", digits=2)
P99 = Measure("p99", "ms", digits=2)
MEASURES = (REQUESTS, CPU, P50, P99)
MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
TIMEOUT_S = 10
TOKENS_SCRIPT = """
local requests, last = {}, 0
function init(args)
  for token in io.lines(args[1]) do
    wrk.headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format()
  end
end
function request()
  last = last % #requests + 1
  return requests[last]
end
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What wrk counted; `failed` holds refused, broken and late answers alike."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


class NoReport(RuntimeError):
    """wrk said something else than its report."""


@dataclass(frozen=True, slots=True)
class Load:
    """`tokens` is a file of tokens, one a line, taken in turn; without it the target's own token is sent."""

    path: str
    seconds: int
    connections: int = 32
    headers: Sequence[str] = ()
    tokens: Path | None = None


def measure(target: Target, load: Load) -> Sample:
    """Load the target and read what it used meanwhile."""
    before = cpu_s(target.pid)
    report = run(target, load)
    used_us = (cpu_s(target.pid) - before) * 1e6
    values = {
        REQUESTS: report.per_s,
        CPU: used_us / max(report.requests, 1),
        P50: report.p50_ms,
        P99: report.p99_ms,
    }
    return Sample(values, report.failed)


def run(target: Target, load: Load) -> Report:
    """Errors: ProgramMissing, NoReport."""
    command = [require("wrk", package="wrk"), "-t1", f"-c{load.connections}", f"-d{load.seconds}s", "--latency"]
    command += ["--timeout", f"{TIMEOUT_S}s"]
    for header in (f"Authorization: Bearer {target.token}", *load.headers):
        command += ["-H", header]
    url = target.url(load.path)
    command += _with_tokens(load.tokens, url) if load.tokens else [url]
    limit_s = load.seconds + 3 * TIMEOUT_S
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    return parse(done.stdout + done.stderr)


def _with_tokens(tokens: Path, url: str) -> list[str]:
    script = tokens.with_suffix(".lua")
    script.write_text(TOKENS_SCRIPT, "utf-8")
    return ["-s", str(script), url, "--", str(tokens)]


def parse(text: str) -> Report:
    """Read the report of wrk 4; where nothing was answered there are no latencies (NaN). Errors: NoReport."""
    counted = re.search(r"(\d+) requests in", text)
    speed = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if counted is None or speed is None:
        raise NoReport(text.strip())
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = sum(int(count) for found in (refused, broken) if found for count in found.groups())
    requests = int(counted[1])
    p50_ms, p99_ms = (_latency_ms(text, percent) if requests else math.nan for percent in (50, 99))
    return Report(requests, float(speed[1]), p50_ms, p99_ms, failed)


def _latency_ms(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}(?:\.0+)?%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return float(found[1]) * MS[found[2]] if found else math.nan
