import io
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from pathlib import Path

import pytest
import structlog

from app.infra.observability.logs import configure_logs, configure_logs_of_a_guest, redact

SECRET = "swordfish"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def logged(*, as_json: bool, level: int = logging.INFO) -> io.StringIO:
    """Set logs up so that they end in the buffer."""
    buffer = io.StringIO()
    with redirect_stderr(buffer):
        configure_logs(level=level, as_json=as_json)
    return buffer


def fail() -> None:
    token = SECRET
    raise RuntimeError(f"failed with a token of {len(token)} characters")


def test_a_line_of_json_holds_the_fields() -> None:
    out = logged(as_json=True)

    structlog.get_logger().info("chat.exchanged", chat_id=7)

    line = json.loads(out.getvalue())
    assert (line["event"], line["chat_id"], line["level"]) == ("chat.exchanged", 7, "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_trace_is_whole_and_holds_no_local_variable(*, as_json: bool) -> None:
    out = logged(as_json=as_json)

    try:
        fail()
    except RuntimeError as error:
        structlog.get_logger().error("request.failed", exc_info=error)

    assert "Traceback" in out.getvalue()
    assert "in fail" in out.getvalue()
    assert "RuntimeError: failed with a token of 9 characters" in out.getvalue()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_lines_of_the_standard_library_look_alike(*, as_json: bool) -> None:
    out = logged(as_json=as_json)

    logging.getLogger("some.library").warning("it is %s", "late")

    line = json.loads(out.getvalue()) if as_json else {"event": out.getvalue()}
    assert "it is late" in line["event"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_line_that_cannot_be_written_is_lost_without_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("w") as full, redirect_stderr(full):
        configure_logs(level=logging.INFO, as_json=True)
        structlog.get_logger().info("chat.exchanged")
        logging.getLogger("some.library").warning("late")
        with suppress(OSError):  # what is still in the buffer
            full.close()

    assert capfd.readouterr().err == ""


def _a_socket_pair() -> tuple[int, int]:
    """What stderr is under systemd."""
    read, write = socket.socketpair()
    return read.detach(), write.detach()


@pytest.mark.parametrize("ends", [os.pipe, _a_socket_pair], ids=["pipe", "socket"])
def test_what_nobody_reads_stops_nobody_and_its_reader_misses_nothing(ends: Callable[[], tuple[int, int]]) -> None:
    read, write = ends()
    with os.fdopen(write, "w") as pipe, redirect_stderr(pipe):
        configure_logs(level=logging.INFO, as_json=True)
        for number in range(4000):
            structlog.get_logger().info("chat.exchanged", number=number)

        with os.fdopen(read) as reader:
            numbers = [json.loads(reader.readline())["number"] for _ in range(4000)]

    assert numbers == list(range(4000))


def test_what_is_below_the_level_is_not_written() -> None:
    out = logged(as_json=True, level=logging.ERROR)

    structlog.get_logger().warning("chat.exchanged")
    logging.getLogger("some.library").warning("late")

    assert out.getvalue() == ""


@pytest.mark.parametrize("name", ["httpx", "alembic", "openai", "asyncio"])
def test_talkative_libraries_are_heard_only_when_they_warn(name: str) -> None:
    out = logged(as_json=True)

    logging.getLogger(name).info("chatter")

    assert out.getvalue() == ""


@pytest.mark.parametrize("key", ["token", "Authorization", "set_cookie", "POSTGRES_DSN", "api_key", "user_password"])
def test_what_is_named_like_a_secret_is_blanked(key: str) -> None:
    assert redact(None, "info", {key: SECRET, "chat_id": 7}) == {key: "[redacted]", "chat_id": 7}


def test_a_guest_leaves_its_hosts_logs_as_they_are() -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    structlog.configure(processors=[structlog.processors.JSONRenderer(sort_keys=True)])
    theirs = structlog.get_config()

    configure_logs_of_a_guest(level=logging.ERROR, as_json=False)

    assert structlog.get_config() == theirs
    assert (logging.root.handlers, logging.root.level) == (handlers, level)


def test_a_guest_of_a_host_without_any_logs_as_we_do() -> None:
    handlers, buffer = logging.root.handlers[:], io.StringIO()
    structlog.reset_defaults()

    with redirect_stderr(buffer):
        configure_logs_of_a_guest(level=logging.WARNING, as_json=True)
    structlog.get_logger().info("chat.exchanged")
    structlog.get_logger().warning("caller.refused", token=SECRET)

    assert json.loads(buffer.getvalue())["event"] == "caller.refused"
    assert SECRET not in buffer.getvalue()
    assert logging.root.handlers == handlers
