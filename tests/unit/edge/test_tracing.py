"""Which trace a request belongs to: the vectors of W3C Trace Context, and what is nobody's but ours."""

import re

import pytest

from app.edge.proxy import request_head
from app.edge.record import Record
from app.edge.tracing import JoinTrace, is_sampled
from tests.unit.edge.parts import a_record

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"
OURS = "0123456789abcdef0123456789abcdef"

INVALID = {
    "empty": "",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "version of one digit": f"0-{TRACE}-{SPAN}-01",
    "version in capitals": f"0A-{TRACE}-{SPAN}-01",
    "trace id of zeros": f"00-{'0' * 32}-{SPAN}-01",
    "parent id of zeros": f"00-{TRACE}-{'0' * 16}-01",
    "trace id in capitals": f"00-{TRACE.upper()}-{SPAN}-01",
    "parent id in capitals": f"00-{TRACE}-{SPAN.upper()}-01",
    "flags in capitals": f"00-{TRACE}-{SPAN}-0A",
    "trace id too short": f"00-{TRACE[1:]}-{SPAN}-01",
    "trace id too long": f"00-{TRACE}0-{SPAN}-01",
    "no hex": f"00-{'g' * 32}-{SPAN}-01",
    "flags missing": f"00-{TRACE}-{SPAN}",
    "flags of one digit": f"00-{TRACE}-{SPAN}-1",
    "more than version 00 has": f"00-{TRACE}-{SPAN}-01-more",
    "a dash at the end": f"00-{TRACE}-{SPAN}-01-",
    "a later version, not parted by a dash": f"cc-{TRACE}-{SPAN}-01.more",
    "blanks": f" 00-{TRACE}-{SPAN}-01",
    "line end": f"00-{TRACE}-{SPAN}-01\n",
}


def traceparent(record: Record) -> bytes:
    """Read what an upstream is sent."""
    head = request_head(record, b"there", b"\r\n")
    return head.partition(b"\r\ntraceparent: ")[2].partition(b"\r\n")[0]


def joined(*fields: tuple[str, str], trusted: bool = True) -> Record:
    record = a_record("GET", "/", *fields, trusted=trusted)
    record.trace_id, record.span_id = "", 0
    assert JoinTrace()(record) is None
    return record


def test_a_trusted_peers_trace_goes_on_with_a_span_of_ours() -> None:
    record = joined(("traceparent", GIVEN))

    assert (record.trace_id, record.parent_span_id) == (TRACE, SPAN)
    assert re.fullmatch(rf"00-{TRACE}-(?!{SPAN})(?!0{{16}})[0-9a-f]{{16}}-01".encode(), traceparent(record))


@pytest.mark.parametrize("given", INVALID.values(), ids=INVALID)
def test_what_is_no_traceparent_starts_a_trace_and_loses_the_state(given: str) -> None:
    record = joined(("traceparent", given), ("tracestate", "vendor=1"))

    assert (record.trace_id, record.parent_span_id, record.tracestate) == (OURS, "", b"")
    assert is_sampled(record)


@pytest.mark.parametrize("given", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"])
def test_a_later_version_is_read_as_far_as_it_is_known_and_sent_on_as_ours(given: str) -> None:
    record = joined(("traceparent", given))

    assert record.trace_id == TRACE
    assert traceparent(record).startswith(b"00-")
    assert len(traceparent(record)) == 55


@pytest.mark.parametrize(("flags", "sent"), [("00", b"00"), ("01", b"01"), ("03", b"03"), ("ff", b"03"), ("fe", b"02")])
def test_of_the_flags_those_are_sent_on_that_are_known(flags: str, sent: bytes) -> None:
    record = joined(("traceparent", f"00-{TRACE}-{SPAN}-{flags}"))

    assert traceparent(record)[-2:] == sent
    assert is_sampled(record) is sent.endswith((b"1", b"3"))


def test_two_traceparents_are_none() -> None:
    assert joined(("traceparent", GIVEN), ("traceparent", GIVEN)).trace_id == OURS


def test_a_stranger_is_not_believed() -> None:
    record = joined(("traceparent", GIVEN), ("tracestate", "vendor=1"), trusted=False)

    assert (record.trace_id, record.parent_span_id, record.tracestate) == (OURS, "", b"")


@pytest.mark.parametrize("given", ["a-request-of-mine", "0" * 32, "ab" * 17])
def test_a_request_id_that_is_no_trace_id_is_not_made_one(given: str) -> None:
    record = a_record(trusted=True)
    record.id, record.has_given_id = given, True

    JoinTrace()(record)

    assert re.fullmatch("[0-9a-f]{32}", record.trace_id)
    assert record.trace_id != given


def test_every_request_has_a_span_of_its_own_and_every_gateway_another() -> None:
    stages = (JoinTrace(), JoinTrace())
    spans = []
    for stage in stages * 3:
        record = a_record()
        stage(record)
        spans.append(record.span_id)

    assert len(set(spans)) == 6
    assert all(0 < span < 2**64 for span in spans)


STATES = {
    "one": (["vendor=1"], b"vendor=1"),
    "several fields are one list": (["a=1, b=2", "c=3"], b"a=1,b=2,c=3"),
    "empty members": (["a=1,, ,b=2"], b"a=1,b=2"),
    "tenant": (["0tenant@vendor=1"], b"0tenant@vendor=1"),
    "a key in capitals": (["Vendor=1"], b""),
    "no value": (["vendor"], b""),
    "empty value": (["vendor="], b""),
    "an equals sign in the value": (["vendor=a=b"], b""),
    "a control byte": (["vendor=a\tb"], b""),
    "thirty-two members": ([",".join(f"k{n}=1" for n in range(32))], ",".join(f"k{n}=1" for n in range(32)).encode()),
    "thirty-three members": ([",".join(f"k{n}=1" for n in range(33))], b""),
    "too long, cut at a member": (["a=" + "x" * 200, "b=" + "y" * 200, "c=" + "z" * 200],
                                  b"a=" + b"x" * 200 + b",b=" + b"y" * 200),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "sent"), STATES.values(), ids=STATES)
def test_the_state_is_passed_on_whole_members_only(fields: list[str], sent: bytes) -> None:
    record = joined(("traceparent", GIVEN), *(("tracestate", text) for text in fields))

    assert record.tracestate == sent
