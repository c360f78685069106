"""Records, rows, tables and a clock that stands still: what the tests of the stages are made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.edge.claims import TokenRules
from app.edge.keys import KeySet, read_pem
from app.edge.record import Answer, Record
from app.edge.routes import Route, RouteRegistry
from app.edge.table import Table
from app.edge.tokens import TokenVerifier
from app.edge.upstreams import open_upstreams
from app.kernel.errors import Fault
from app.settings import GatewayFile
from tests.builders import ROLES, public_pem

NOW_S = 1_800_000_000.0
UPSTREAMS = {"there": {"url": "http://127.0.0.1:9"}}


@dataclass(slots=True)
class StillClock:
    """Moves when told to."""

    now_s: float = NOW_S

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    def time_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


def a_record(
    method: str = "GET",
    target: str = "/x",
    *fields: tuple[str, str],
    peer: str = "203.0.113.7",
    trusted: bool = False,
    is_upgrade: bool = False,
    scheme: str = "http",
) -> Record:
    """What a server hands over; names as the client wrote them, in lower case, `Host` added unless it is given."""
    path, _, query = target.partition("?")
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    host = [] if any(name == b"host" for name, _ in given) else [(b"host", b"gate.test")]
    return Record(
        method=method.encode(),
        path=path.encode("latin-1"),
        query=query.encode("latin-1"),
        headers=[*host, *given],
        peer=peer,
        scheme=scheme,
        started_s=0,
        is_upgrade=is_upgrade,
        is_peer_trusted=trusted,
        id="0123456789abcdef0123456789abcdef",
        trace_id="0123456789abcdef0123456789abcdef",
        span_id=1,
    )


def a_file(*rows: dict[str, object], upstreams: Mapping[str, object] = UPSTREAMS) -> GatewayFile:
    """Read rows written as in `gateway.toml`; a row goes to the upstream `there` unless it says otherwise."""
    written = [row if "upstream" in row or "local" in row else {"upstream": "there", **row} for row in rows]
    return GatewayFile.model_validate({"upstreams": upstreams, "routes": written})


def a_table(*rows: dict[str, object], upstreams: Mapping[str, object] = UPSTREAMS) -> RouteRegistry:
    file = a_file(*rows, upstreams=upstreams)
    return RouteRegistry.compile(file.routes, file.upstreams)


def a_live_table(*rows: dict[str, object]) -> Table:
    """The same rows with their upstreams, which open no connection before a request needs one."""
    file = a_file(*rows)
    return Table(RouteRegistry.compile(file.routes, file.upstreams), open_upstreams(file.upstreams))


def a_route(**row: object) -> Route:
    named = row if "path" in row else {"prefix": "/", **row}
    return a_table(named).routes[0]


@dataclass(slots=True)
class Checked:
    """A verifier, the clock it reads and the keys it is given."""

    keys: KeySet = field(default_factory=lambda: KeySet(any_id=read_pem(public_pem())))
    clock: StillClock = field(default_factory=StillClock)
    rules: TokenRules = field(default_factory=lambda: TokenRules(roles=ROLES))
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.verifier = TokenVerifier(self.rules, lambda: self.keys, self.clock)


def outcome(stage: Callable[[Record], Answer | None], record: Record) -> str:
    """What becomes of a record: the fault's type, the answer's status, or "goes on"."""
    try:
        answer = stage(record)
    except Fault as fault:
        return fault.type
    return str(answer.status) if answer else "goes on"
