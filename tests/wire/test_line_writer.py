"""Lines on their way to a descriptor: in order, whole, and never waited for by who wrote them."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infra.observability.lines import CLOSE_TIMEOUT_S, PIPE_PIECE_BYTES, LineWriter

type Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_lines_arrive_in_order_before_close_returns(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as log:
        writer = LineWriter(log.fileno())
        for number in range(1000):
            writer.put(b"%d\n" % number, 1)
        writer.close()

    assert file.read_bytes() == b"".join(b"%d\n" % number for number in range(1000))
    assert writer.lines_dropped == 0


def test_a_pipe_that_nobody_reads_stops_nobody(pipe: Pipe) -> None:
    writer = LineWriter(pipe[1], backlog_bytes=100_000)
    line = b"x" * 999 + b"\n"

    for _ in range(1000):
        writer.put(line, 1)

    dropped = writer.lines_dropped
    assert 800 <= dropped < 1000
    reading = threading.Thread(target=_read, args=(pipe[0], (1000 - dropped) * len(line)))
    reading.start()
    writer.close()
    reading.join(10)
    assert not reading.is_alive()


def _read(descriptor: int, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        taken += os.read(descriptor, 65536)
    return taken


def test_closing_gives_up_on_a_pipe_that_nobody_reads(pipe: Pipe) -> None:
    writer = LineWriter(pipe[1])
    writer.put(b"x" * 1_000_000 + b"\n", 1)

    closing = threading.Thread(target=writer.close)
    closing.start()
    closing.join(CLOSE_TIMEOUT_S + 20)

    assert not closing.is_alive()
    _read(pipe[0], 1_000_001)  # lets the writing thread end


def test_workers_on_one_pipe_do_not_tear_each_others_lines(pipe: Pipe) -> None:
    lines = {name: b"".join(b"%c%06d%s\n" % (name, n, b"." * (n % 300)) for n in range(3000)) for name in b"ab"}
    size = sum(map(len, lines.values()))
    taken: list[bytes] = []
    reading = threading.Thread(target=lambda: taken.append(_read(pipe[0], size)))
    reading.start()
    writers = [LineWriter(pipe[1]) for _ in lines]
    for writer, text in zip(writers, lines.values(), strict=True):
        writer.put(text, 3000)
    for writer in writers:
        writer.close()
    reading.join(20)

    assert all(len(text) > 10 * PIPE_PIECE_BYTES for text in lines.values())
    for name, text in lines.items():
        assert b"".join(one for one in taken[0].splitlines(keepends=True) if one[0] == name) == text


def test_a_full_disk_costs_its_lines_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that was cut ends where it was cut, and the next one stands alone."""
    file = tmp_path / "log"
    real_write = os.write
    left = [5, 0]

    def write(descriptor: int, text: memoryview) -> int:
        if not left:
            return real_write(descriptor, text)
        size = left.pop(0)
        if size == 0:
            raise OSError(errno.ENOSPC, "no space left")
        return real_write(descriptor, text[:size])

    monkeypatch.setattr(os, "write", write)
    with file.open("wb") as log:
        writer = LineWriter(log.fileno())
        writer.put(b"0123456789\n", 1)
        writer.put(b"whole\n", 1)
        writer.close()

    assert file.read_bytes() == b"01234\nwhole\n"
    assert writer.lines_dropped == 1


def test_what_was_put_is_written_when_the_process_ends() -> None:
    program = "from app.infra.observability.lines import LineWriter\nLineWriter(2).put(b'last words\\n', 1)"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)

    assert ended.stderr == b"last words\n"
