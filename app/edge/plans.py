"""Heads that were let in a moment ago. Clients ask for the same again and again: the same bytes from the same peer are
decided alike, as long as everything that decided still stands.

A plan holds what the chain made of a head and is true of the head alone. What is true of one request only is done for
each: its id and trace, whether there is room for it, the row's rate. A plan falls with the table it was made by, and
with the token it let in: expired, withdrawn, or signed by a key that is gone. Of a run's token none is kept.
"""

from dataclasses import dataclass, field

from app.edge.keys import KeySet
from app.edge.proxy import BodyFraming
from app.edge.record import Record
from app.edge.routes import Route
from app.edge.table import Table
from app.edge.tokens import TokenVerifier

MAX_PLANS = 4096
MAX_HEAD_BYTES = 2048


@dataclass(slots=True)
class Plan:
    """`head_rest` is what an upstream is sent, behind what differs from request to request.

    `record` is the request's that it was made for, and a pristine one once it is kept.
    """

    record: Record
    route: Route
    framing: BodyFraming
    is_http_1_0: bool
    is_persistent: bool
    head_rest: bytes
    table: Table
    keys: KeySet
    ends_at_s: float
    """by the wall clock, as the token does"""
    is_plain: bool = field(init=False)
    """a request without a body, to an upstream, that stays a request"""

    def __post_init__(self) -> None:
        is_proxied = self.record.upstream is not None and not self.record.is_upgrade
        self.is_plain = is_proxied and self.framing is BodyFraming.NONE


@dataclass(slots=True)
class Plans:
    """Concurrency: one per worker, of the event loop's thread. Cost: at most some 6 KB for each of MAX_PLANS."""

    tokens: TokenVerifier
    _known: dict[bytes, Plan] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.tokens.revocations.subscribe(lambda _: self._known.clear())

    def find(self, block: bytes, peer: str, scheme: str, table: Table) -> Plan | None:
        plan = self._known.get(block)
        if plan is None or plan.record.peer != peer or plan.record.scheme != scheme:
            return None
        if plan.table is table and plan.keys is self.tokens.keys() and plan.ends_at_s > self.tokens.clock.time_s():
            return plan
        del self._known[block]
        return None

    def keep(self, block: bytes, plan: Plan) -> None:
        """Remember a head that was let in, unless it asks for more than an answer."""
        record = plan.record
        if record.is_upgrade or len(block) > MAX_HEAD_BYTES or not _is_plain(record):
            return
        if len(self._known) >= MAX_PLANS:
            del self._known[next(iter(self._known))]
        plan.record = record.pristine()
        self._known[block] = plan


def _is_plain(record: Record) -> bool:
    """Tell whether the token is all that identity hangs on: a bad one on a PUBLIC row may be good in a moment, and a
    run's is good while the run lives.
    """
    if record.principal is not None:
        return record.principal.acting is None
    return not (record.first(b"authorization") or record.first(b"cookie"))
