"""Tell what was done of tasks: the history of their runs, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.features.tasks.domain.history import (
    DEFAULT_WINDOW,
    EARLIEST,
    LONGEST_WINDOW,
    Entry,
    HistoryFilter,
    Place,
    RunSum,
    SumBy,
)
from app.features.tasks.ports import HistoryStore
from app.kernel.clock import Clock
from app.kernel.errors import FieldError, Forbidden, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A stretch of a history, the newest first; `next` is where to read on, None at its beginning."""

    items: Sequence[Entry]
    next: Place | None


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Give a page of one's own history; of everybody's, or of whoever is named, for staff. Errors: Forbidden."""

    begin: Begin
    history: HistoryStore

    async def __call__(self, who: Principal, only: HistoryFilter, *, after: Place | None, limit: int) -> HistoryPage:
        only = _seen_by(who, only)
        async with self.begin() as tx:
            found = await self.history.entries(tx, only, after=after, limit=limit + 1)
        items = found[:limit]
        return HistoryPage(items, items[-1].place if len(found) > limit else None)


@dataclass(frozen=True, slots=True)
class Statistics:
    """`only` says of which window they are."""

    items: Sequence[RunSum]
    only: HistoryFilter


@dataclass(frozen=True, slots=True)
class ReadStatistics:
    """Add up the runs of a window, of the last thirty days unless told otherwise; the last active first.

    Whose: as in the history. Errors: Forbidden, ValidationFailed.
    """

    begin: Begin
    history: HistoryStore
    clock: Clock

    async def __call__(self, who: Principal, only: HistoryFilter, *, by: SumBy) -> Statistics:
        until = only.until or self.clock.now()
        since = only.since or max(until, EARLIEST + DEFAULT_WINDOW) - DEFAULT_WINDOW
        if not since < until or until - since > LONGEST_WINDOW:
            wrong = FieldError("since", f"must be before until, by at most {LONGEST_WINDOW.days} days")
            raise ValidationFailed("Some filters are not valid.", errors=[wrong])
        only = replace(_seen_by(who, only), since=since, until=until)
        async with self.begin() as tx:
            return Statistics(await self.history.sums(tx, only, by=by), only)


def _seen_by(who: Principal, only: HistoryFilter) -> HistoryFilter:
    """Errors: Forbidden."""
    if who.is_staff:
        return only
    if only.owner not in (None, who.user_id):
        raise Forbidden("Only staff may see what was done for somebody else.")
    return replace(only, owner=who.user_id)
