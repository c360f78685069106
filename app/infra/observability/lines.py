"""Lines written to a file descriptor by a thread of their own, so that a full pipe or a slow disk stops nobody.

Facts
- Setting a shared stderr to non-blocking would change it for everybody who has it open, terminals included (open(2):
  the flag belongs to the open file description). Hence a thread.
- Only writes of up to PIPE_BUF bytes to a pipe are not mixed with those of other processes (POSIX write(2)), and the
  workers of one gateway share one stderr. Hence pieces that end with a line. Under systemd it is a socket, where large
  writes may be mixed as well.
"""

import atexit
import errno
import os
import queue
import select
import stat
import threading

STDERR = 2
PIPE_PIECE_BYTES = 4096
MAX_BACKLOG_BYTES = 8 * 1024**2
CLOSE_TIMEOUT_S = 2


def may_be_unread(descriptor: int) -> bool:
    """Tell whether somebody has to read what is written there, so that a write may have to wait for them."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class LineWriter:
    """Take whole lines without ever waiting, and write them in order; what does not fit into the backlog is dropped.

    Concurrency: `put` and `close` belong to one thread. The thread that writes is started by the first line, and what
    was put is written when the process exits, however that comes about, unless nobody reads it.
    """

    def __init__(self, descriptor: int, *, backlog_bytes: int = MAX_BACKLOG_BYTES) -> None:
        self._descriptor = descriptor
        self._backlog_bytes = backlog_bytes
        self._queue: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._bytes_put = 0
        self._bytes_done = 0  # of the writing thread; the backlog is the difference, so that neither needs a lock
        self._lines_refused = 0
        self._lines_lost = 0  # of the writing thread
        self._is_torn = False

    @property
    def lines_dropped(self) -> int:
        return self._lines_refused + self._lines_lost

    def put(self, text: bytes, lines: int) -> None:
        """Have complete lines written soon. Cost: no system call, but the start of the thread."""
        if self._bytes_put - self._bytes_done + len(text) > self._backlog_bytes:
            self._lines_refused += lines
            return
        if self._thread is None:
            self._start()
        self._bytes_put += len(text)
        self._queue.put((text, lines))

    def close(self) -> None:
        """Write what is left, for up to two seconds; another `put` starts anew."""
        thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.close)
            self._queue.put(None)
            thread.join(CLOSE_TIMEOUT_S)

    def _start(self) -> None:
        # a daemon: a pipe that nobody reads must not keep the process from ending
        self._thread = threading.Thread(target=self._write_all, name="lines", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _write_all(self) -> None:
        while (taken := self._queue.get()) is not None:
            text, lines = taken
            try:
                for piece in _pieces(text, self._piece_bytes()):
                    self._write(piece)
            except OSError:
                self._lines_lost += lines  # nowhere to say so: what was lost is what would say it
            self._bytes_done += len(text)

    def _piece_bytes(self) -> int:
        return PIPE_PIECE_BYTES if may_be_unread(self._descriptor) else MAX_BACKLOG_BYTES

    def _write(self, piece: bytes) -> None:
        left = memoryview(b"\n" + piece if self._is_torn else piece)
        while left:
            try:
                written = os.write(self._descriptor, left)
            except BlockingIOError:
                select.select((), (self._descriptor,), ())  # somebody else made it non-blocking
                continue
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                raise
            self._is_torn = left[written - 1] != ord("\n")  # where a disk is full, a line may end in its middle
            left = left[written:]


def _pieces(text: bytes, limit: int) -> list[bytes]:
    """Cut after line ends into pieces of up to `limit` bytes; a longer line is a piece of its own."""
    pieces: list[bytes] = []
    start = 0
    while len(text) - start > limit:
        end = text.rfind(b"\n", start, start + limit) + 1 or text.find(b"\n", start + limit) + 1 or len(text)
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]] if start < len(text) else pieces
