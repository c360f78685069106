"""Events as bytes, read back by the rules a browser reads them by."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app.infra.wire import sse


def read(stream: bytes) -> list[dict[str, str]]:
    """Parse as `EventSource` does (WHATWG HTML §9.2.6): fields by line, an event at each empty line."""
    events: list[dict[str, str]] = []
    data: list[str] = []
    fields: dict[str, str] = {}
    for line in re.split("\r\n|\n|\r", stream.decode()):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                events.append({**fields, "data": "\n".join(data)})
            data, fields = [], {}
        elif name == "data":
            data.append(value)
        elif name and not (name == "id" and "\0" in value):
            fields[name] = value
    return events


def test_an_event_has_its_fields_and_ends() -> None:
    assert sse.event('{"a": 1}', id_="7", type_="text_delta") == b'id: 7\nevent: text_delta\ndata: {"a": 1}\n\n'


def test_a_comment_is_no_event_and_may_say_when_to_come_back() -> None:
    said = sse.comment("the server\nis restarting", retry_ms=500)

    assert said == b"retry: 500\n: the server is restarting\n\n"
    assert read(said) == read(sse.HEARTBEAT) == []


@given(data=st.text(), id_=st.text(), type_=st.text())
def test_no_data_and_no_name_can_forge_a_field_or_end_an_event_early(data: str, id_: str, type_: str) -> None:
    events = read(sse.event(data, id_=id_, type_=type_) + sse.event("next"))

    assert [event["data"] for event in events] == [re.sub("\r\n|\r", "\n", printable(data)), "next"]
    assert set(events[0]) <= {"data", "id", "event"}


def printable(text: str) -> str:
    """Half a surrogate pair cannot be said in UTF-8."""
    return text.encode("utf-8", "replace").decode()


def test_an_id_loses_what_would_have_it_ignored() -> None:
    assert read(sse.event("x", id_="1\0\r\n2")) == [{"id": "1  2", "data": "x"}]
