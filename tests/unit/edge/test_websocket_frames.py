"""Where frames begin and end, however they arrive."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from app.edge.websocket_frames import FrameTracker, close_frame

OPCODES = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG)
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65535, 65536, 70000]))


def a_frame(size: int, opcode: Opcode = Opcode.BINARY, *, masked: bool = True) -> bytes:
    data = bytes(size) if opcode not in {Opcode.PING, Opcode.PONG} else bytes(min(size, 125))
    return Frame(opcode, data).serialize(mask=masked)


def fed(data: bytes, cuts: list[int]) -> FrameTracker:
    """A tracker that was given so much, in pieces."""
    tracker, at = FrameTracker(), 0
    for cut in [*sorted(cuts), len(data)]:
        tracker.feed(data[at : max(at, cut)])
        at = max(at, cut)
    return tracker


@given(
    frames=st.lists(st.tuples(SIZES, st.sampled_from(OPCODES), st.booleans()), max_size=6),
    cuts=st.lists(st.integers(0, 1000), max_size=8),
)
def test_behind_whole_frames_one_may_speak_however_they_arrived(
    frames: list[tuple[int, Opcode, bool]], cuts: list[int]
) -> None:
    data = b"".join(a_frame(size, opcode, masked=masked) for size, opcode, masked in frames)

    assert fed(data, cuts).is_between_frames


@given(size=SIZES, masked=st.booleans(), cut=st.integers(1, 80_000), cuts=st.lists(st.integers(0, 80_000), max_size=4))
def test_within_a_frame_nobody_may_speak(size: int, *, masked: bool, cut: int, cuts: list[int]) -> None:
    whole = a_frame(10)
    frame = a_frame(size, masked=masked)
    part = frame[: min(cut, len(frame) - 1)]

    assert not fed(whole + part, cuts).is_between_frames


@pytest.mark.parametrize("masked", [True, False])
def test_behind_a_close_frame_nobody_may_speak(*, masked: bool) -> None:
    tracker = FrameTracker()
    tracker.feed(a_frame(3, masked=masked) + close_frame(1000, is_masked=masked))

    assert tracker.is_closing
    assert not tracker.is_between_frames


def test_a_payload_that_looks_like_a_close_frame_is_none() -> None:
    tracker = FrameTracker()
    tracker.feed(Frame(Opcode.BINARY, close_frame(1000, is_masked=False) * 50).serialize(mask=False))

    assert tracker.is_between_frames


def test_the_longest_frame_there_can_be_holds_nothing() -> None:
    tracker = FrameTracker()
    tracker.feed(b"\x82\x7f" + (2**63 - 1).to_bytes(8) + bytes(100_000))

    assert not tracker.is_between_frames
    assert tracker._left_bytes == 2**63 - 1 - 100_000
    assert tracker._head == b""


@pytest.mark.parametrize("is_masked", [True, False])
@pytest.mark.parametrize("reason", ["", "token_expired", "x" * 200])
def test_a_close_frame_is_read_by_others_as_it_was_meant(reason: str, *, is_masked: bool) -> None:
    written = close_frame(1008, reason, is_masked=is_masked)
    length = written[1] & 0x7F
    payload = written[2 + 4 * is_masked :]
    if is_masked:
        payload = bytes(byte ^ written[2 + number % 4] for number, byte in enumerate(payload))

    assert (written[0], bool(written[1] & 0x80), length) == (0x88, is_masked, len(payload))
    assert payload == (1008).to_bytes(2) + reason[:123].encode()


def test_the_tiniest_frames_cost_little() -> None:
    data = a_frame(0) * 10_000
    tracker = FrameTracker()
    best_s = min(_timed(tracker, data) for _ in range(5))

    print(f"{best_s / 10_000 * 1e9:.0f} ns a frame")  # noqa: T201 - a number to look at
    assert best_s < 0.1  # it takes a fortieth of that


def _timed(tracker: FrameTracker, data: bytes) -> float:
    began = time.perf_counter()
    tracker.feed(data)
    return time.perf_counter() - began
