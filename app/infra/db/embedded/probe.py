"""Ask a server whether it accepts queries on a database: start a session as a client would, and end it.

A socket that accepts proves nothing: a server in crash recovery accepts too, and refuses after the first message.
Source: PostgreSQL documentation, "Frontend/Backend Protocol", Message Formats and Message Flow (Start-up).
"""

import socket
import struct
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

_PROTOCOL_3_0 = 196608
_TIMEOUT_S = 2.0
_MESSAGE_LIMIT_BYTES = 65536
_INVALID_CATALOG_NAME = "3D000"
_TOO_MANY_CONNECTIONS = "53300"


class Answer(Enum):
    READY = auto()
    NO_SUCH_DATABASE = auto()
    NOT_YET = auto()


def probe(server: Path, *, database: str) -> Answer:
    """Cost: one backend process for some milliseconds; at most `_TIMEOUT_S` for each read."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(str(server))
            client.sendall(_startup(database))
            return _read_answer(client)
    except OSError:  # refused, timed out, or ended in the middle of a message
        return Answer.NOT_YET


def _startup(database: str) -> bytes:
    parameters = b"user\0postgres\0database\0" + database.encode() + b"\0\0"
    return struct.pack("!ii", 8 + len(parameters), _PROTOCOL_3_0) + parameters


def _read_answer(client: socket.socket) -> Answer:
    while True:
        kind, length = struct.unpack("!ci", _read_exactly(client, 5))
        if not 4 <= length <= _MESSAGE_LIMIT_BYTES:
            raise ConnectionAbortedError
        body = _read_exactly(client, length - 4)
        if kind == b"Z":  # ReadyForQuery
            with suppress(OSError):
                client.sendall(b"X\0\0\0\4")  # Terminate, which is only polite
            return Answer.READY
        if kind == b"E":
            return _answer_to(_sqlstate(body))


def _answer_to(sqlstate: str) -> Answer:
    if sqlstate == _INVALID_CATALOG_NAME:
        return Answer.NO_SUCH_DATABASE
    return Answer.READY if sqlstate == _TOO_MANY_CONNECTIONS else Answer.NOT_YET


def _sqlstate(error: bytes) -> str:
    fields = {field[:1]: field[1:] for field in error.split(b"\0") if field}
    return fields.get(b"C", b"").decode(errors="replace")


def _read_exactly(client: socket.socket, size_bytes: int) -> bytes:
    read = b""
    while len(read) < size_bytes:
        part = client.recv(size_bytes - len(read))
        if not part:
            raise ConnectionAbortedError
        read += part
    return read
