"""Requests that a client may send again under one key: what became of them, and how a use case does each once.

What lives here: the values, and the port use cases ask. What does not: HTTP. `surfaces/api` reads the header, waits for
a try that is under way and keeps the answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.kernel.errors import Conflict
from app.kernel.ids import UserId
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """One wish of a caller, however often it is sent.

    `id` is the same in every try of it, in whatever process, until a try was told that it failed for good; then the
    next has a new one. `digest` is that of the method, the path, the query and the body.
    """

    id: UUID
    owner: UserId
    key: str
    digest: bytes


class Receipts(Protocol):
    """What a keyed request has made, written down in the transaction that made it: a later try finds it there.

        async with self.begin() as tx:
            made = await self.receipts.find(tx, keyed)
            if made is not None:
                return await self.chats.find(tx, ChatId(int(made)))
            chat = await self.chats.add(tx, draft)
            await self.receipts.note(tx, keyed, str(chat.id))

    Concurrency: `find` keeps every other try of the request waiting until the transaction is over.
    """

    async def find(self, tx: Tx, request: KeyedRequest) -> str | None:
        """Tell what an earlier try has made; None when this one is to make it. Errors: RequestSuperseded."""
        ...

    async def note(self, tx: Tx, request: KeyedRequest, made: str) -> None:
        """Write down the id of what was made, of up to 64 characters; after `find`, in the same transaction."""
        ...


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is given again; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """This try is the one that does it; `hold` is its mark, and must be renewed while it works."""

    request: KeyedRequest
    hold: UUID


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Another try does it at the moment."""

    request: KeyedRequest


@dataclass(frozen=True, slots=True)
class Answered:
    """It was done, and this is what was answered."""

    request: KeyedRequest
    answer: KeptAnswer


@dataclass(frozen=True, slots=True)
class Mismatched:
    """The key was used for another request."""


type Claim = Taken | UnderWay | Answered | Mismatched


class IdempotencyMismatch(Conflict):
    type = "idempotency-mismatch"
    title = "The key was used for another request"


class RequestUnderWay(Conflict):
    type = "idempotency-in-progress"
    title = "A request with this key is being worked on"


class RequestSuperseded(Conflict):
    """A try that was frozen comes back after another one was told that the request failed: it does nothing."""

    type = "idempotency-superseded"
    title = "Another try of this request took its place"

    def __init__(self) -> None:
        super().__init__("Another try of this request failed meanwhile; send it again.", headers={"retry-after": "1"})
