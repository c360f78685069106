"""Stage: how far may an OPTIONS be passed on (RFC 9110 §7.6.2). With other methods the field means nothing to us."""

from collections.abc import Callable
from dataclasses import dataclass

from app.edge.headers import forwards_left
from app.edge.record import Answer, Record
from app.edge.table import Table


@dataclass(frozen=True, slots=True)
class StopForwards:
    """Answer a request that may go no further as the one it was meant for; `proxy.py` counts down what may."""

    table: Callable[[], Table]

    def __call__(self, record: Record) -> Answer | None:
        if record.method != b"OPTIONS" or record.upstream is None or forwards_left(record.headers) != 0:
            return None
        record.reason = "options"
        return Answer(204, [(b"allow", b", ".join(self.table().registry.rows_of(record.path)))], b"")
