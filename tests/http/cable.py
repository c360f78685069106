"""A wire between the gateway and its database that a test can cut and mend: a relay on a Unix socket."""

import socket
import threading
from pathlib import Path

from sqlalchemy import make_url

SOCKET = ".s.PGSQL.5432"
CHUNK_BYTES = 65536


class Cable:
    """Concurrency: two threads a connection, all of which end with `cut`."""

    def __init__(self, dsn: str, folder: Path) -> None:
        url = make_url(dsn)
        self._target = f"{url.query['host']}/{SOCKET}"
        self._socket = folder / SOCKET
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.dsn = url.update_query_dict({"host": str(folder)}).render_as_string(hide_password=False)

    def mend(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._socket))
        self._listener.listen()
        self._start(self._accept, self._listener)

    def cut(self) -> None:
        self._socket.unlink()
        for end in (self._listener, *self._ends):
            if end is not None:
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for end in (self._listener, *self._ends):
            if end is not None:
                end.close()
        self._ends.clear()
        self._threads.clear()

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type] # any of the methods below
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            far.connect(self._target)
            self._ends |= {near, far}
            self._start(self._pump, near, far)
            self._start(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
