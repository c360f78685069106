"""The supervisor's few log lines, in the form of the workers' many, without the library they use.

A thread writes them: who started the workers must not wait for whoever reads the log.
"""

import json
from datetime import UTC, datetime

from app.infra.observability.lines import STDERR, LineWriter

BACKLOG_BYTES = 64 * 1024
_LEVELS = {"info": 20, "warning": 30, "error": 40}


class SupervisorLog:
    """Until a worker has read the settings, lines are readable and every level is shown."""

    def __init__(self) -> None:
        self._level = 0
        self._is_json = False
        self._lines = LineWriter(STDERR, backlog_bytes=BACKLOG_BYTES)

    def set_up(self, *, level: int, as_json: bool) -> None:
        self._level, self._is_json = level, as_json

    def info(self, event: str, **fields: object) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if _LEVELS[level] < self._level:
            return
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if self._is_json:
            line = json.dumps({**fields, "event": event, "level": level, "timestamp": moment}, default=str)
        else:
            pairs = " ".join(f"{key}={value}" for key, value in fields.items())
            line = f"{moment} [{level:<9}] {event:<30} {pairs}"
        self._lines.put(f"{line.rstrip()}\n".encode(errors="replace"), 1)
