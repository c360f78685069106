import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.chunked import FRAMING_LIMIT_BYTES, ChunkedBody, ChunksMalformed

BEHIND = b"GET / HTTP/1.1\r\n"
EXTENSIONS = st.sampled_from([b"", b";a", b';a="b c"', b";a=1;b=2"])
TRAILERS = st.sampled_from([b"", b"x-a: 1\r\n", b"x-user-id: 1\r\ncontent-length: 9\r\n"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw the pieces of a body, and how they are framed."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), draw(EXTENSIONS), piece) for piece in pieces)
    return b"".join(pieces), framed + b"0" + draw(EXTENSIONS) + b"\r\n" + draw(TRAILERS) + b"\r\n"


def split(whole: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({cut % (len(whole) + 1) for cut in cuts})
    yield from (whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True))


def read(pieces: Iterator[bytes]) -> tuple[bytes, bytes, bool]:
    """Tell the body, what came behind it, and whether it is whole; pieces behind its end are not fed."""
    body, found = ChunkedBody(), b""
    behind = b""
    for piece in pieces:
        if body.is_complete:
            behind += piece
        else:
            found += body.feed(piece)
    return found, body.surplus + behind, body.is_complete


@given(bodies(), st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_body(drawn: tuple[bytes, bytes], cuts: list[int]) -> None:
    body, framed = drawn

    assert read(split(framed + BEHIND, cuts)) == (body, BEHIND, True)


@given(bodies(), st.integers(0, 2000))
def test_what_is_cut_is_never_whole(drawn: tuple[bytes, bytes], at: int) -> None:
    body, framed = drawn
    found, behind, is_whole = read(iter([framed[: at % len(framed)]]))

    assert (is_whole, behind) == (False, b"")
    assert body.startswith(found)


MALFORMED = [
    b"\r\n",
    b"x\r\n",
    b" 1\r\n",
    b"1 \r\n",
    b"+1\r\n",
    b"-1\r\n",
    b"0x1\r\n",
    b"1_0\r\n",
    b"1\n",
    b"1;\n\r\n",
    b"1;\x00\r\n",
    b"00000000000000001\r\n",
    b"1\r\nab\r\n",
    b"1\r\na\n",
    b"1\r\na\r\n\r\n",
    b"0\r\nx\r\n",
    b"0\r\n x: 1\r\n",
    b"0\r\nx : 1\r\n",
    b"0\r\nx: \x00\r\n",
    b"0\n",
    b"1\r0\r\n",
    "\uff11\r\n".encode(),
]


@given(st.sampled_from(MALFORMED), st.lists(st.integers(0, 50), max_size=5))
def test_any_split_of_malformed_bytes_is_refused(framed: bytes, cuts: list[int]) -> None:
    with pytest.raises(ChunksMalformed):
        read(split(framed, cuts))


@pytest.mark.parametrize(
    "framed",
    [b"1;" + b"a" * 5000, b"0\r\n" + b"x: 1\r\n" * 4000, b"1;a\r\nb\r\n" * 10 + b"0\r\n" + b"x: 1\r\n" * 4000],
    ids=["an extension", "trailers", "trailers behind a body"],
)
def test_framing_without_content_is_bounded(framed: bytes) -> None:
    assert len(framed) < 3 * FRAMING_LIMIT_BYTES
    with pytest.raises(ChunksMalformed, match="more framing than content"):
        ChunkedBody().feed(framed)


def test_framing_is_not_counted_against_a_body_with_content() -> None:
    body = ChunkedBody()

    found = body.feed(b"1;abcdefgh\r\nx\r\n" * FRAMING_LIMIT_BYTES)

    assert found == b"x" * FRAMING_LIMIT_BYTES


def test_a_chunk_that_says_it_is_endless_is_taken_as_it_comes() -> None:
    body = ChunkedBody()

    assert body.feed(b"ffffffffffffffff\r\nabc") == b"abc"
    assert body.least_left_bytes == 2**64 - 4


@pytest.mark.parametrize("step", [1, 64])
def test_the_cost_of_small_chunks_is_that_of_their_bytes(step: int) -> None:
    def seconds(chunks: int) -> float:
        framed = b"1\r\nx\r\n" * chunks
        begun_s = time.process_time()
        body = ChunkedBody()
        for at in range(0, len(framed), step):
            body.feed(framed[at : at + step])
        return time.process_time() - begun_s

    few = min(seconds(2000) for _ in range(3))
    many = min(seconds(16_000) for _ in range(3))

    assert many < 8 * few * 4
