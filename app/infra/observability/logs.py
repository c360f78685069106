"""structlog, set up once: JSON lines in production, readable lines elsewhere; on stderr, since stdout is for results.

Rule: never log tokens, message text or headers wholesale; `redact` is the last net, not the first.
"""

import logging
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Protocol, TextIO

import structlog

from app.infra.observability.lines import LineWriter, may_be_unread

_SECRET_WORDS = ("token", "authorization", "password", "secret", "cookie", "api_key", "credential", "dsn")
_NOISY = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "uvicorn.access", "alembic", "asyncio")


class Unfailing:
    """Where log lines go: who only says something must neither fail because of it nor wait for whoever reads.

    A file is written at once, and a line is lost on a full disk. A line to a pipe or a socket is left to a thread: that
    there was room a moment ago says nothing, where other workers write as well.
    Concurrency: any thread.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._later: LineWriter | None = None
        self._putting = threading.Lock()
        with suppress(OSError, ValueError):  # a stream in memory has no descriptor
            if may_be_unread(stream.fileno()):
                self._later = LineWriter(stream.fileno())

    def write(self, text: str) -> None:
        if self._later is None:
            with suppress(OSError):
                self._stream.write(text)
            return
        with self._putting:
            self._later.put(text.encode(errors="replace"), 1)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class SetUpLogs(Protocol):
    def __call__(self, *, level: int, as_json: bool) -> None: ...


def configure_logs(*, level: int, as_json: bool) -> None:
    """Set up structlog and take over the standard library's loggers."""
    stderr = Unfailing(sys.stderr)
    _configure_structlog(stderr, level=level, as_json=as_json)
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(as_json=as_json)],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def configure_logs_of_a_guest(*, level: int, as_json: bool) -> None:
    """Set up structlog unless the program we are part of has; leave the standard library's loggers to it."""
    if not structlog.is_configured():
        _configure_structlog(Unfailing(sys.stderr), level=level, as_json=as_json)


def _configure_structlog(stderr: Unfailing, *, level: int, as_json: bool) -> None:
    structlog.configure(
        processors=[*_shared(), *_rendered(as_json=as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stderr),  # type: ignore[arg-type]  # more than is called
        cache_logger_on_first_use=False,
    )


def _shared() -> list[Any]:  # processors are callables of structlog's own untyped kind
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]


def _rendered(*, as_json: bool) -> list[Any]:  # as above
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [readable()]


def readable() -> structlog.dev.ConsoleRenderer:
    """Make what renders lines for people."""
    # structlog's own choice, where rich is installed, prints every local variable of every frame: tokens among them,
    # and seconds of work on the event loop for one error
    return structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)


def redact(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank the values whose key names a secret."""
    del logger, method
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "[redacted]"
    return event
