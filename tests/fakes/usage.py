"""The record of what was spent, in memory: it adds up the settlements of the fake ledger."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from app.features.usage.domain.spent import Dimension, Settlement, UsageFilter, UsageSum
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

type Value = date | str | int | None


@dataclass
class FakeUsageStore:
    """Knows no moments: filters by time let everything through."""

    settlements: list[Settlement] = field(default_factory=list)

    async def sums(self, tx: Tx, query: ListQuery, *, by: Sequence[Dimension], only: UsageFilter) -> Page[UsageSum]:
        del tx
        groups: dict[tuple[Value, ...], list[Settlement]] = defaultdict(list)
        for what in self.settlements:
            values = _values(what)
            if _is_wanted(values, only) and _matches(values, query):
                groups[tuple(values[dimension] for dimension in by)].append(what)
        sums = [_sum(dict(zip(by, key, strict=True)), whats) for key, whats in groups.items()]
        sums.sort(key=lambda one: _order(one, query), reverse=query.sort_order == "desc")
        return Page(sums[query.offset : query.offset + query.limit], len(sums), query.limit, query.offset)

    async def forget(self, *, before: date) -> None:
        self.settlements[:] = [what for what in self.settlements if what.day >= before]


def _values(what: Settlement) -> Mapping[Dimension, Value]:
    return {
        Dimension.DAY: what.day,
        Dimension.AGENT: what.payer.agent,
        Dimension.CHAT: what.payer.chat_id,
        Dimension.MODEL: what.model,
        Dimension.USER: what.payer.user_id,
    }


def _is_wanted(values: Mapping[Dimension, Value], only: UsageFilter) -> bool:
    wanted = {
        Dimension.AGENT: only.agent,
        Dimension.CHAT: only.chat_id,
        Dimension.MODEL: only.model,
        Dimension.USER: only.user_id,
    }
    return all(value is None or values[dimension] == value for dimension, value in wanted.items())


def _matches(values: Mapping[Dimension, Value], query: ListQuery) -> bool:
    if query.search is None:
        return True
    text, wanted = str(values[Dimension(query.search.field)]), query.search.text
    return wanted.lower() in text.lower() if query.search.ignore_case else wanted in text


def _sum(values: Mapping[Dimension, Value], whats: Sequence[Settlement]) -> UsageSum:
    usage = whats[0].spent
    for what in whats[1:]:
        usage += what.spent
    unpriced = sum(what.spent.requests for what in whats if what.spent.cost is None)
    return UsageSum(values, usage, sum(what.milliseconds for what in whats), unpriced)


def _order(one: UsageSum, query: ListQuery) -> tuple[str | float, ...]:
    keys = tuple(f"{value!s:0>20}" for value in one.values.values())
    if query.order_by is None:
        return keys
    if query.order_by in set(Dimension):
        return (f"{one.values[Dimension(query.order_by)]!s:0>20}", *keys)
    amount = one.milliseconds if query.order_by == "seconds" else getattr(one.usage, query.order_by)
    # what has no price comes last, whichever way
    last = float("-inf") if query.sort_order == "desc" else float("inf")
    return (last if amount is None else float(amount), *keys)
