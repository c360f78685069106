"""What a line says and what it never says, in both shapes, and which requests leave one."""

import json
import logging
from collections.abc import Sequence
from uuid import UUID

import pytest

from app.edge.access_log import BATCH_LINES, BatchedAccessLog, Fields, Line, as_json, as_readable, fields_of, line_of
from app.edge.record import Record
from app.infra.observability.lines import LineWriter
from app.kernel.ids import RunId
from tests.builders import a_principal, acting_principal
from tests.unit.edge.parts import a_record, a_route

ESCAPES = "\x1b[2J \x9b31m \r\n\u2028 \N{PILE OF POO} \x00 \x7f"


class Lines(LineWriter):
    """Remembers instead of writing."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.text = b""
        self.counts: list[int] = []

    def put(self, text: bytes, lines: int) -> None:
        self.text += text
        self.counts.append(lines)

    @property
    def documents(self) -> list[Fields]:
        return [json.loads(line) for line in self.text.splitlines()]


def a_log(**options: float) -> tuple[BatchedAccessLog, Lines]:
    lines = Lines()
    return BatchedAccessLog(lines, as_json, **options), lines  # type: ignore[arg-type] # levels and shares are numbers


def answered(status: int = 200, reason: str = "proxied", **evidence: object) -> Record:
    record = a_record("GET", "/common/x?secret=query")
    record.route, record.principal = a_route(prefix="/common"), a_principal(user_id="7")
    record.status, record.reason, record.client = status, reason, "203.0.113.7"
    record.evidence = evidence
    return record


def rendered(record: Record) -> Sequence[Line | Fields]:
    line = line_of(record, 0.0012345678)
    return [fields_of(record, line) if record.evidence else line]


def test_a_line_is_one_json_document_with_everything_in_it() -> None:
    record = answered()
    record.endpoint, record.bytes_in, record.bytes_out = "127.0.0.1:9", 3, 4

    line = json.loads(as_json(rendered(record)))

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request.answered",
        "level": "info",
        "request_id": record.id,
        "trace_id": record.trace_id,
        "method": "GET",
        "path": "/common/x",
        "route": "/common/*",
        "status": 200,
        "reason": "proxied",
        "user_id": "7",
        "client": "203.0.113.7",
        "endpoint": "127.0.0.1:9",
        "bytes_in": 3,
        "bytes_out": 4,
        "seconds": 0.001234,
    }


def test_where_a_run_calls_in_a_users_name_the_line_names_both() -> None:
    record = answered()
    record.principal = acting_principal(RunId(UUID(int=7)), user_id="7")

    line = json.loads(as_json(rendered(record)))

    assert (line["user_id"], line["run_id"]) == ("7", "00000000-0000-0000-0000-000000000007")
    assert "run_id" not in json.loads(as_json(rendered(answered())))


def test_nobody_and_nowhere_are_null() -> None:
    record = a_record("BREW", "/x")

    line = json.loads(as_json(rendered(record)))

    assert (line["method"], line["route"], line["user_id"], line["endpoint"]) == ("BREW", None, None, None)


def test_evidence_stands_beside_the_fields_and_cannot_pass_for_one() -> None:
    record = answered(502, "upstream_refused", cause=OSError("refused"), access_token="abc", path="/elsewhere")
    record.evidence, record.retries = {**record.evidence, "status": 200}, 1

    line = json.loads(as_json(rendered(record)))

    assert (line["cause"], line["status"], line["path"], line["level"]) == ("refused", 502, "/common/x", "warning")
    assert line["access_token"] == "[redacted]"
    assert line["retries"] == 1


@pytest.mark.parametrize("render", [as_json, as_readable()], ids=["json", "readable"])
@pytest.mark.parametrize("words", [ESCAPES, "half of a pair: \ud800"], ids=["escapes", "surrogate"])
def test_what_a_client_wrote_ends_no_line_and_steers_no_terminal(render: object, words: str) -> None:
    assert callable(render)
    as_path, as_user, as_cause = answered(), answered(), answered(502, "upstream_broken", cause=words)
    as_path.path = words.encode("utf-8", "surrogatepass")
    as_user.principal = a_principal(user_id=words)

    for record in (as_path, as_user, as_cause):
        text: bytes = render(rendered(record))

        assert text.endswith(b"\n")
        assert text.count(b"\n") == 1
        assert all(0x20 <= byte < 0x7F for byte in text[:-1].replace(b"\x7f", b""))


def test_json_gives_back_what_a_client_wrote() -> None:
    record = answered()
    record.path = b'/\x1b"\xe9'

    assert json.loads(as_json(rendered(record)))["path"] == '/\x1b"\xe9'


def test_neither_query_nor_token_is_in_a_line() -> None:
    text = as_json(rendered(answered())) + as_readable()(rendered(answered()))

    assert b"secret" not in text
    assert b"token-of" not in text


def test_a_readable_line_is_what_structlog_would_write() -> None:
    text = as_readable()(rendered(answered())).decode()

    assert "[info     ] request.answered" in text
    assert "path=/common/x" in text
    assert "reason=proxied" in text


async def test_lines_are_handed_over_together() -> None:
    log, lines = a_log(batch_s=3600)

    for _ in range(BATCH_LINES + 1):
        log.write(answered(), 0.1)
    assert lines.counts == [BATCH_LINES]

    log.flush()
    assert lines.counts == [BATCH_LINES, 1]
    log.flush()
    assert lines.counts == [BATCH_LINES, 1]


@pytest.mark.parametrize(
    ("level", "status", "is_written"),
    [
        (logging.INFO, 200, True),
        (logging.WARNING, 200, False),
        (logging.WARNING, 404, False),
        (logging.WARNING, 502, True),
        (logging.ERROR, 502, False),
    ],
)
async def test_the_log_level_holds_for_lines_too(level: int, status: int, *, is_written: bool) -> None:
    log, lines = a_log(level=level)

    log.write(answered(status, "proxied" if status == 200 else "internal"), 0.1)
    log.flush()

    assert bool(lines.text) is is_written


async def test_of_what_went_well_a_share_is_logged_and_says_so() -> None:
    log, lines = a_log(sample=0.25, batch_s=3600)

    for _ in range(100):
        log.write(answered(), 0.1)
    log.flush()

    assert len(lines.documents) == 25
    assert {line["sample"] for line in lines.documents} == {0.25}


async def test_where_all_are_logged_no_line_says_of_a_share() -> None:
    log, lines = a_log(sample=float("1.0"))

    log.write(answered(), 0.1)
    log.flush()

    assert "sample" not in lines.documents[0]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "token_missing"), (404, "proxied"), (500, "proxied"), (200, "upstream_broken"), (0, "client_gone")],
)
async def test_what_went_wrong_is_always_logged(status: int, reason: str) -> None:
    log, lines = a_log(sample=0)

    log.write(answered(), 0.1)
    log.write(answered(status, reason), 0.1)
    log.flush()

    (line,) = lines.documents
    assert (line["status"], line["reason"]) == (status, reason)
    assert "sample" not in line
