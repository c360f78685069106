"""Stage: may this role use this door. Whether this person may touch this thing is asked in the use case."""

from dataclasses import dataclass

from app.edge.faults import RoleNotAllowed
from app.edge.record import Answer, Record
from app.kernel.identity import Access


@dataclass(frozen=True, slots=True)
class CheckAccess:
    """Errors: RoleNotAllowed. Fails closed: a row that asks for a group is never entered without a principal."""

    def __call__(self, record: Record) -> Answer | None:
        route = record.route
        if route is None:
            raise RoleNotAllowed("This door is closed.")
        if route.admits(record.principal):
            return None
        asked = {route.access.value, route.also_access.value} - {Access.PUBLIC.value}
        raise RoleNotAllowed(f"This door is for {' and '.join(sorted(asked))}.")
