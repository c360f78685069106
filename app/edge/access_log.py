"""One line for every request: what it was, what became of it and why. Never a query, a token or a body.

Rule: a line is made while a request is finished, for thousands of requests a second: everything that can wait is done
for a whole batch, on its way out.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from app.edge.record import Record
from app.edge.routing import METHODS
from app.infra.observability.lines import LineWriter
from app.infra.observability.logs import readable, redact

EVENT = "request.answered"
BATCH_LINES = 1000
BATCH_S = 0.05
READABLE_BATCH_S = 0.03
"""somebody is watching"""

_FINE = frozenset({"proxied", "local", "preflight"})
_ANSWERED = frozenset({"proxied", "local"})
"""whoever was asked gave the status: 503 of a health endpoint is an answer, not a failure of ours"""
_METHODS = {method: method.decode() for method in METHODS}
_UNPRINTABLE = re.compile(r"[^ -~]")
_ENCODER = msgspec.json.Encoder(enc_hook=str)

log = structlog.get_logger()


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The fields of a line, as JSON has them.

    `run_id` is there where a run called in the user's name; `sample` is the share of such requests that is logged, if
    not all are.
    """

    event: str
    level: str
    timestamp: datetime
    request_id: str
    trace_id: str
    method: str
    path: str
    route: str | None
    status: int
    reason: str
    user_id: str | None
    client: str
    endpoint: str | None
    bytes_in: int
    bytes_out: int
    seconds: float
    retries: int = 0
    sample: float | None = None
    run_id: str | None = None


type Fields = dict[str, object]
type Render = Callable[[Sequence[Line | Fields]], bytes]


class AccessLog(Protocol):
    def write(self, record: Record, seconds: float) -> None:
        """Keep the line of a request that is over; called once each. Cost: microseconds; waits for nothing."""
        ...


class StructlogAccessLog:
    """Each line at once through structlog and all its processors: for whoever captures events, as tests do."""

    def write(self, record: Record, seconds: float) -> None:
        fields = fields_of(record, line_of(record, seconds))
        level = logging.getLevelNamesMapping()[str(fields.pop("level")).upper()]
        del fields["timestamp"]
        log.log(level, fields.pop("event"), **fields)


@dataclass(slots=True)
class BatchedAccessLog:
    """Collect lines, and hand them over together: when there are enough, or a moment after the first.

    `sample` is the share of the requests that went well that leave a line; what went wrong always leaves one.
    Concurrency: belongs to the event loop's thread.
    """

    writer: LineWriter
    render: Render
    level: int = logging.INFO
    sample: float = 1
    batch_s: float = BATCH_S
    _lines: list[Line | Fields] = field(default_factory=list)
    _owed: float = 0
    _timer: asyncio.TimerHandle | None = None
    _keeps_all: bool = field(init=False)

    def __post_init__(self) -> None:
        self._keeps_all = self.level <= logging.INFO and self.sample >= 1

    def write(self, record: Record, seconds: float) -> None:
        if self._keeps_all:
            self._keep(record, line_of(record, seconds))
            return
        is_fine = record.reason in _FINE and 0 < record.status < 400
        if self.level > logging.INFO and (self.level > logging.WARNING or is_fine):
            return
        sample = self.sample if is_fine and self.sample < 1 else None
        if sample is not None:
            self._owed += sample
            if self._owed < 1:
                return
            self._owed -= 1
        line = line_of(record, seconds, sample)
        if self.level > logging.INFO and line.level == "info":
            return
        self._keep(record, line)

    def _keep(self, record: Record, line: Line) -> None:
        self._lines.append(fields_of(record, line) if record.evidence else line)
        if len(self._lines) >= BATCH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.batch_s, self.flush)

    def flush(self) -> None:
        """Hand over what was collected; the writer does the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self.writer.put(self.render(lines), len(lines))

    def close(self) -> None:
        """Write everything, for up to two seconds."""
        self.flush()
        self.writer.close()


def line_of(record: Record, seconds: float, sample: float | None = None) -> Line:
    is_ours = record.status >= 500 and record.reason not in _ANSWERED
    who = record.principal
    return Line(
        EVENT,
        "warning" if is_ours else "info",
        datetime.now(UTC),
        record.id,
        record.trace_id,
        _METHODS.get(record.method) or record.method.decode("latin-1"),
        record.path.decode("latin-1"),
        record.route.label if record.route is not None else None,
        record.status,
        record.reason,
        who.user_id if who is not None else None,
        record.client,
        record.endpoint or None,
        record.bytes_in,
        record.bytes_out,
        int(seconds * 1e6) / 1e6,
        record.retries,
        sample,
        str(who.acting.run_id) if who is not None and who.acting is not None else None,
    )


def fields_of(record: Record, line: Line) -> Fields:
    """Add what is known about a failure; nothing there can pass for one of the line's own fields."""
    own: Fields = msgspec.to_builtins(line)
    return {**redact(None, "", dict(record.evidence)), **own}


def as_json(lines: Sequence[Line | Fields]) -> bytes:
    """One document a line, in ASCII: what a client wrote steers no terminal and ends no line."""
    try:
        text = _ENCODER.encode_lines(lines)
    except (TypeError, ValueError):  # half of a surrogate pair
        text = b"\xff"
    if text.isascii():
        return text
    return b"".join(json.dumps(msgspec.to_builtins(line), default=str).encode() + b"\n" for line in lines)


def as_readable() -> Render:
    """Make lines for people, as structlog's are, with everything escaped that is not plainly printed."""
    renderer = readable()

    def render(lines: Sequence[Line | Fields]) -> bytes:
        return b"".join(_escaped(str(renderer(None, "", msgspec.to_builtins(line)))) for line in lines)

    return render


def _escaped(text: str) -> bytes:
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text).encode() + b"\n"
