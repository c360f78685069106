import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.faults import HeadTooLarge, TargetTooLong
from app.edge.protocol_intake import (
    HEAD_LIMIT_BYTES,
    PIPELINED_LIMIT_BYTES,
    REQUEST_LINE_LIMIT_BYTES,
    Intake,
    first_words,
)
from app.kernel.errors import Fault

HEADS = st.lists(
    st.sampled_from([b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"HEAD /longer HTTP/1.1\r\nx: " + b"y" * 50 + b"\r\n\r\n"]),
    max_size=5,
)


def heads_of(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """Cut all heads off what arrives piece by piece; tell them and what is left."""
    intake, found = Intake(), []
    for piece in pieces:
        intake.add(piece)
        while intake.has_bytes and (head := intake.next_head()) is not None:
            found.append(head)
    return found, intake.take_all()


def split(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(whole) + 1) for cut in cuts})
    return [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]


@given(
    HEADS, st.sampled_from([b"", b"G", b"GET / HTTP/1.1\r\nhost: a\r\n\r"]), st.lists(st.integers(0, 600), max_size=9)
)
def test_any_split_of_the_bytes_gives_the_same_heads(heads: list[bytes], rest: bytes, cuts: list[int]) -> None:
    assert heads_of(split(b"".join(heads) + rest, cuts)) == (heads, rest)


@given(st.integers(0, 3), st.lists(st.integers(0, 60), max_size=6))
def test_one_empty_line_before_a_head_is_dropped_wherever_it_is_cut(lines: int, cuts: list[int]) -> None:
    head = b"GET / HTTP/1.1\r\n\r\n"
    found, _ = heads_of(split(b"\r\n" * lines + head, cuts))

    whole_head_is_found = lines <= 1
    assert (found[:1] == [head]) is whole_head_is_found


@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
@pytest.mark.parametrize(
    ("whole", "fault"),
    [
        (b"GET /" + b"x" * REQUEST_LINE_LIMIT_BYTES, TargetTooLong),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * HEAD_LIMIT_BYTES, HeadTooLarge),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 6000 + b"\r\n", HeadTooLarge),
    ],
    ids=["target", "field", "fields"],
)
def test_a_head_without_end_is_refused_wherever_it_is_cut(whole: bytes, fault: type[Fault], step: int) -> None:
    with pytest.raises(fault):
        heads_of([whole[at : at + step] for at in range(0, len(whole), step)])


def test_the_largest_head_is_taken() -> None:
    start = b"GET /" + b"x" * (REQUEST_LINE_LIMIT_BYTES - 14) + b" HTTP/1.1\r\nx: "
    head = start + b"y" * (HEAD_LIMIT_BYTES - len(start) - 4) + b"\r\n\r\n"

    assert heads_of([head]) == ([head], b"")


def test_an_intake_is_full_of_what_waits_alone() -> None:
    intake = Intake()
    seen = []
    intake.add(b"GET / HTTP/1.1\r\n\r\n" + b"x" * PIPELINED_LIMIT_BYTES)
    seen.append(intake.is_full)
    intake.next_head()
    seen.append(intake.is_full)
    intake.add(b"x")
    seen.append(intake.is_full)

    assert seen == [True, False, True]


def test_what_was_taken_is_not_kept() -> None:
    intake = Intake()
    intake.add(b"GET / HTTP/1.1\r\nx: " + b"y" * 30_000 + b"\r\n\r\n")

    intake.next_head()

    assert not intake.has_bytes
    assert intake.beginning == b""
    assert len(intake._data) == 0


def test_what_was_put_back_is_read_next() -> None:
    intake = Intake()
    intake.add(b"abcGET / HTTP/1.1\r\n\r\n")

    intake.put_back(intake.take_all()[3:])

    assert intake.next_head() == b"GET / HTTP/1.1\r\n\r\n"


def test_a_head_is_begun_once() -> None:
    intake = Intake()
    for value in b"GET":
        assert intake.is_searched is (value != ord("G"))
        intake.add(bytes((value,)))
        intake.next_head()
    intake.add(b" / HTTP/1.1\r\n\r\n")

    assert intake.next_head() is not None
    assert not intake.is_searched


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"GET /a?b=c HTTP/1.1\r\nX : 1\r\n\r\n", (b"GET", b"/a")),
        (b"GET /a", (b"GET", b"/a")),
        (b"\x16\x03\x01", (b"\x16\x03\x01", b"")),
        (b"", (b"", b"")),
        (b"x" * 2000, (b"x" * 32, b"")),
    ],
)
def test_the_first_words_of_a_head_are_told_for_the_log(beginning: bytes, words: tuple[bytes, bytes]) -> None:
    assert first_words(beginning) == words


def test_the_cost_of_a_dribbled_head_is_that_of_its_bytes() -> None:
    def seconds(size: int) -> float:
        head = b"GET / HTTP/1.1\r\nx: " + b"y" * size + b"\r\n\r\n"
        begun_s = time.process_time()
        heads_of([head[at : at + 1] for at in range(len(head))])
        return time.process_time() - begun_s

    short = min(seconds(3500) for _ in range(3))
    long = min(seconds(28_000) for _ in range(3))

    assert long < 8 * short * 4


def test_the_cost_of_pipelined_heads_is_that_of_their_bytes() -> None:
    def seconds(requests: int) -> float:
        whole = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * requests
        begun_s = time.process_time()
        heads_of([whole])
        return time.process_time() - begun_s

    few = min(seconds(1000) for _ in range(3))
    many = min(seconds(8000) for _ in range(3))

    assert many < 8 * few * 4
