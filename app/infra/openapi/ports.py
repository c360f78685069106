"""What the fleet's description asks of others: the edge, which knows the rows and the upstreams, and our own endpoints.

Nothing here knows how a path is rewritten or how an upstream is reached.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.kernel.identity import Access

type Node = Mapping[str, object]
"""A JSON object as decoded (a dict), of a document that somebody else wrote: nothing in it can be relied on."""


class DescriptionUnusable(Exception):
    """A description could not be had or cannot be read; the message is shown to STAFF."""


def stricter(one: Access, other: Access) -> Access:
    """Tell which of two doors, one behind the other, fewer may pass."""
    return max(one, other, key=tuple(Access).index)


@dataclass(frozen=True, slots=True)
class Entrance:
    """A way from the front door to an operation; `path` is a template like `/api/v1/agenda/calendars/{id}`."""

    path: str
    access: Access


class Fleet(Protocol):
    """The table and the upstreams as they are at this moment; both may change between two calls."""

    def table(self) -> object:
        """Tell the present table; another object means that the rows may have changed."""
        ...

    def publishers(self) -> Mapping[str, object]:
        """Name the upstreams that publish a description; another object of a name means another place to ask."""
        ...

    async def fetch(self, upstream: str, *, limit_bytes: int) -> bytes:
        """Ask for an upstream's description. Errors: DescriptionUnusable."""
        ...

    def finder(self) -> "FindEntrances":
        """Make what finds entrances by the present table; it may be called in another thread."""
        ...


class FindEntrances(Protocol):
    def __call__(self, upstream: str | None, method: str, path: str) -> Sequence[Entrance]:
        """Find every front-door path that leads to an operation of an upstream, or (None) of our own.

        `method` is in capitals; `path` is a template as the upstream sees it, the path of its URL included.
        """
        ...


@dataclass(frozen=True, slots=True)
class Own:
    """Our own operations, and what the front door may answer in place of an upstream.

    `refusals` are responses by status; `token_refusals` are added where a token is asked for. References in both lead
    into `document`, where an operation says by `x-portico-access` what its handler asks for beyond its row.
    `access_cookie` is the cookie that may hold the token.
    """

    document: bytes
    access_cookie: str
    refusals: Mapping[str, Node] = field(default_factory=dict)
    token_refusals: Mapping[str, Node] = field(default_factory=dict)


type DescribeOwn = Callable[[], Own]
