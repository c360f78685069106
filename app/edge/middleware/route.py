"""Stage: the row of the table that this request takes, and the path it means there."""

from collections.abc import Callable
from dataclasses import dataclass

from app.edge.faults import BodyTooLarge, HeadMalformed, PathNotAllowed
from app.edge.middleware.cors import preflight_method
from app.edge.record import Answer, Record
from app.edge.routes import RouteRegistry
from app.edge.routing import path_flaw


@dataclass(frozen=True, slots=True)
class FindRoute:
    """Set `route` and `upstream_path`; a preflight takes the row of the method it asks for.

    `table` is read for each request, so that a new table takes over between two of them.
    Errors: RouteNotFound, RouteMethodNotAllowed, PathNotAllowed, BodyTooLarge.
    """

    table: Callable[[], RouteRegistry]

    def __call__(self, record: Record) -> Answer | None:
        method = preflight_method(record) or record.method
        route = self.table().match(method, record.path)
        record.route = route
        if b"%" in record.path and not route.encoded_slashes:
            flaw = path_flaw(record.path)
            if flaw is not None:
                raise PathNotAllowed(f"The path is not passed on: {flaw}.")
        record.upstream_path = route.upstream_path(record.method, record.path)
        declared = record.first(b"content-length")
        if declared is None:
            return None
        if not declared.isdigit():
            raise HeadMalformed("The Content-Length field is not a number.")
        if int(declared[:20]) > route.max_body_bytes:
            raise BodyTooLarge(f"This route takes bodies of up to {route.max_body_bytes} bytes.")
        return None
