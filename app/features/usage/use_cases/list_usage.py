"""Tell what was spent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.features.usage.domain.spent import Dimension, UsageFilter, UsageSum
from app.features.usage.ports import UsageStore
from app.kernel.errors import FieldError, Forbidden, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

AMOUNTS = frozenset({"requests", "tool_calls", "input_tokens", "output_tokens", "seconds", "cost"})
USAGE_FIELDS = ListFields(
    searchable=frozenset({"agent", "model"}),
    sortable=AMOUNTS | {dimension.value for dimension in Dimension},
)


@dataclass(frozen=True, slots=True)
class ListUsage:
    """Add up what oneself has spent; for staff what everybody has, or the user of the filter.

    Errors: Forbidden, when somebody else's is asked for; ValidationFailed.
    """

    begin: Begin
    usage: UsageStore

    async def __call__(
        self, who: Principal, query: ListQuery, *, by: Sequence[Dimension], only: UsageFilter
    ) -> Page[UsageSum]:
        if not who.is_staff:
            if only.user_id not in (None, who.user_id):
                raise Forbidden("Only staff may see what somebody else has spent.")
            only = replace(only, user_id=who.user_id)
        _refuse_invalid(query, by)
        async with self.begin() as tx:
            return await self.usage.sums(tx, query, by=by, only=only)


def _refuse_invalid(query: ListQuery, by: Sequence[Dimension]) -> None:
    """Errors: ValidationFailed."""
    problems = []
    if query.ids is not None:
        problems.append(FieldError("ids", "is no filter here: sums have no ids"))
    if query.order_by is not None and query.order_by not in {*AMOUNTS, *by}:
        problems.append(FieldError("orderBy", f"must be one of by, or of {', '.join(sorted(AMOUNTS))}"))
    if problems:
        raise ValidationFailed("Some filters are not valid.", errors=problems)
