import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.chunked import ChunkedBody
from app.edge.pipeline import EdgeOptions
from app.edge.protocol_body import EndlessBody, LengthBody, body_reader, slowness
from app.edge.proxy import BodyFraming
from tests.unit.edge.parts import a_record


@given(st.binary(max_size=60), st.binary(max_size=60), st.lists(st.integers(1, 20), max_size=9))
def test_any_split_of_the_bytes_gives_the_same_body(content: bytes, behind: bytes, sizes: list[int]) -> None:
    body, left, found = LengthBody(len(content)), content + behind, b""
    for size in sizes:
        if body.is_complete:
            break
        found += body.feed(left[:size])
        left = left[size:]
    if not body.is_complete:
        found += body.feed(left)
        left = b""

    assert body.is_complete
    assert (found, body.surplus + left) == (content, behind)


def test_a_body_knows_how_much_of_it_is_still_to_come() -> None:
    body = LengthBody(10)

    body.feed(b"abc")

    assert (body.least_left_bytes, body.is_complete) == (7, False)


def test_a_body_behind_an_upgrade_has_no_end() -> None:
    body = EndlessBody()

    assert body.feed(b"abc") == b"abc"
    assert (body.is_complete, body.surplus) == (False, b"")


def test_the_reader_is_the_one_the_framing_asks_for() -> None:
    with_length = a_record("POST", "/", ("Content-Length", "5"))

    assert isinstance(body_reader(with_length, BodyFraming.LENGTH), LengthBody)
    assert isinstance(body_reader(a_record("POST"), BodyFraming.CHUNKED), ChunkedBody)
    assert body_reader(a_record("GET"), BodyFraming.NONE) is None
    assert body_reader(a_record("POST", "/", ("Content-Length", "0")), BodyFraming.LENGTH) is None


@pytest.mark.parametrize(
    ("came_bytes", "words"), [(0, "No byte"), (1, "less than 100 bytes"), (999, "less than 100 bytes"), (1000, "")]
)
def test_a_body_is_too_slow_by_what_came_of_it(came_bytes: int, words: str) -> None:
    options = EdgeOptions(body_idle_s=10, body_min_bytes_per_s=100)

    found = slowness(came_bytes, options)

    assert words in found.detail if found is not None else words == ""
