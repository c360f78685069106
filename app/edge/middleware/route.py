"""Stage: the row of the table that this request takes, and the path it means there."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.edge.faults import BodyTooLarge, HeadMalformed
from app.edge.middleware.cors import preflight_method
from app.edge.record import Answer, Record
from app.edge.table import Table

_LENGTH = re.compile(rb"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class FindRoute:
    """Set `route`, `upstream` and `upstream_path`; a preflight takes the row of the method it asks for.

    `table` is read for each request, so that a new table takes over between two of them.
    Errors: RouteNotFound, RouteMethodNotAllowed, PathNotAllowed, HeadMalformed,
    BodyTooLarge.
    """

    table: Callable[[], Table]

    def __call__(self, record: Record) -> Answer | None:
        table = self.table()
        record.route = route = table.registry.match(preflight_method(record) or record.method, record.path)
        record.upstream = table.upstreams[route.upstream] if route.upstream is not None else None
        record.upstream_path = route.upstream_path(record.method, record.path)
        declared = record.first(b"content-length")
        if declared is not None and _declared_length(declared) > route.max_body_bytes:
            raise BodyTooLarge(f"This route takes bodies of up to {route.max_body_bytes} bytes.")
        return None


def _declared_length(value: bytes) -> int:
    """Read a Content-Length. Errors: HeadMalformed, also for what no body could be, such as 5,000 digits."""
    if not _LENGTH.fullmatch(value):
        raise HeadMalformed("The Content-Length field is not a number of bytes.")
    return int(value)
