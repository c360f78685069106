"""An upstream that answers whatever reads as a request by the letter of RFC 9112, and keeps account of it."""

import re
from asyncio import IncompleteReadError
from dataclasses import dataclass, field

from tests.wire.hostile import HI, Visit

HEAD_OF_HI = HI.removesuffix(b"hi")
REQUEST_LINE = re.compile(rb"[A-Z]+ /[\x21-\x7e]* HTTP/1\.1")
FIELD_LINE = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9a-z]+: (?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)


@dataclass(frozen=True, slots=True)
class Counted:
    """One request: `head` as it came, without its last empty line; `body` freed of its framing."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def fields(self) -> list[bytes]:
        return self.head.split(b"\r\n")[1:]

    def all(self, name: bytes) -> list[bytes]:
        return [line.partition(b": ")[2] for line in self.fields if line.partition(b":")[0] == name]


@dataclass(slots=True)
class Counting:
    """`requests` were whole; `flaws` holds what no gateway of ours may ever send."""

    requests: list[Counted] = field(default_factory=list)
    begun: int = 0
    """heads that arrived, whether the rest did or not"""
    flaws: list[bytes] = field(default_factory=list)

    async def __call__(self, visit: Visit) -> None:
        while True:
            try:
                head = (await visit.reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
            except IncompleteReadError as ended:
                self.flaws += [ended.partial] if ended.partial else []
                return
            self.begun += 1
            line, *fields = head.split(b"\r\n")
            if not REQUEST_LINE.fullmatch(line) or not all(FIELD_LINE.fullmatch(one) for one in fields):
                self.flaws.append(head)
            body = await self._body(visit, Counted(head))
            self.requests.append(Counted(head, body))
            await visit.send(HEAD_OF_HI if line.startswith(b"HEAD ") else HI)

    async def _body(self, visit: Visit, head: Counted) -> bytes:
        lengths, encodings = head.all(b"content-length"), head.all(b"transfer-encoding")
        if len(lengths) + len(encodings) > 1 or encodings not in ([], [b"chunked"]):
            self.flaws.append(head.head)
        if encodings:
            return await self._chunks(visit)
        return await visit.reader.readexactly(int(lengths[0])) if lengths else b""

    async def _chunks(self, visit: Visit) -> bytes:
        body = b""
        while True:
            size = (await visit.reader.readuntil(b"\r\n")).removesuffix(b"\r\n")
            if not re.fullmatch(rb"0|[1-9a-f][0-9a-f]{0,7}", size):
                self.flaws.append(size)
                raise IncompleteReadError(size, None)
            body += await visit.reader.readexactly(int(size, 16))
            if await visit.reader.readexactly(2) != b"\r\n":
                self.flaws.append(body)
            if size == b"0":
                return body
