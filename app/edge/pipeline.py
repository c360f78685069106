"""The chain every request's head goes through, in order. Both mounts run it; what it decides is done in `proxy.py`.

A stage takes the record and returns None (go on), an Answer (done), or raises a Fault (refused). No stage waits: the
one thing that may have to be fetched, what a token is checked with, is asked for by raising `KeysStale`, and the chain
is run again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.edge.load import Load
from app.edge.middleware.access import CheckAccess
from app.edge.middleware.auth import Authenticate
from app.edge.middleware.client_address import Network, ResolveClient
from app.edge.middleware.cors import ApplyCors, NoteOrigin
from app.edge.middleware.limits import CheckHead
from app.edge.middleware.load import EnterLoad, ShedLoad, TurnAway
from app.edge.middleware.max_forwards import StopForwards
from app.edge.middleware.rate_limit import CheckRate
from app.edge.middleware.request_id import AssignRequestId
from app.edge.middleware.route import FindRoute
from app.edge.rate_limit_counts import RateLimiter
from app.edge.record import Answer, Record
from app.edge.table import Table
from app.edge.tokens import TokenVerifier
from app.edge.tracing import JoinTrace

type Stage = Callable[[Record], Answer | None]


@dataclass(frozen=True, slots=True)
class Chain:
    """The stages of a request: all of them where its head is read, fewer where it was let in a moment ago."""

    new: Sequence[Stage]
    known: Sequence[Stage]


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What an operator decides about the edge, besides the table and the keys; deadlines in seconds."""

    trusted_proxies: Sequence[Network] = ()
    cors_origins: frozenset[bytes] = frozenset()
    access_cookie: bytes = b"pg_access_token"
    refresh_cookie: bytes = b"pg_refresh_token"
    body_idle_s: float = 30
    body_min_bytes_per_s: int = 1024
    client_write_s: float = 30
    head_s: float = 10
    keep_alive_s: float = 30
    farewell_s: float = 2
    last_call_s: float = 0.5
    max_connections: int = 20_000
    max_connections_per_address: int = 1_000

    @property
    def session_cookies(self) -> tuple[bytes, bytes]:
        return (self.access_cookie, self.refresh_cookie)


def build_stages(
    table: Callable[[], Table],
    tokens: TokenVerifier,
    options: EdgeOptions,
    *,
    load: Load | None = None,
    limiter: RateLimiter | None = None,
) -> tuple[Stage, ...]:
    load = load or Load()
    return (
        ResolveClient(options.trusted_proxies),  # first: what the peer says is believed, or not, by everything below
        AssignRequestId(),  # before anything can be refused: a refusal must be findable in the log
        JoinTrace(),  # after the id: a trace that starts here has the request's
        NoteOrigin(options.cors_origins),  # before anything can be refused: a page must be able to read why
        ShedLoad(load),  # before any work that could be spared
        CheckHead(),  # before the route: what two parsers could read differently has no route
        FindRoute(table),  # before CORS and the token: the row says what they are to check
        ApplyCors(table),  # before the token: a preflight carries none
        Authenticate(tokens, options.access_cookie, options.cors_origins),  # who
        CheckAccess(),  # may this role use this door
        StopForwards(table),  # after the role: who may not enter is not told what is there
        CheckRate(limiter or RateLimiter()),  # after the role: what was refused anyway costs its caller no request
        EnterLoad(load),  # last: what comes this far is finished by whoever serves it
    )


def letting_in(stages: Sequence[Stage]) -> Chain:
    """Make the chain of all other requests. Of a known head, stages are asked whose word is good for one request only;
    the others judge the head, and judge it alike.
    """
    own = AssignRequestId | JoinTrace | ShedLoad | CheckRate | EnterLoad
    return Chain(stages, tuple(stage.__call__ for stage in stages if isinstance(stage, own)))


def turning_away(stages: Sequence[Stage], load: Load) -> Chain:
    """Make the chain of a request that is turned away: it gets its name, and an answer that a page can read."""
    own = AssignRequestId | JoinTrace
    new = [stage for stage in stages if isinstance(stage, own | ResolveClient | NoteOrigin)]
    known = [stage for stage in new if isinstance(stage, own)]
    return Chain((*new, TurnAway(load)), (*known, TurnAway(load)))


def introduce(stages: Sequence[Stage], record: Record) -> None:
    """Run what names a request and refuses nothing: for a head that cannot be read, whose refusal is logged too."""
    for stage in stages:
        if isinstance(stage, ResolveClient | AssignRequestId | NoteOrigin):
            stage(record)


def decide(stages: Sequence[Stage], record: Record) -> Answer | None:
    """Run the chain. None means: enter by `record.route`. Errors: any Fault of a stage, KeysStale."""
    for stage in stages:
        answer = stage(record)
        if answer is not None:
            return answer
    return None
