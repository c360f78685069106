"""What clients get about usage; interface contracts, field by field."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Self

from msgspec import Struct

from app.features.usage.domain.spent import Dimension, UsageFilter, UsageSum
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.ids import ChatId, UserId
from app.kernel.paging import Page

TEXT_LIMIT_CHARS = 255
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class UsageOut(Struct, frozen=True, kw_only=True):
    """A sum. `day`, `agent`, `chat_id`, `model` and `user_id` are null where it is not of a single one.

    `model` is "" for tool calls. `cost` is in USD, as text, without `unpriced_requests`, whose price is not known; null
    where none was.
    """

    day: date | None
    agent: str | None
    chat_id: int | None
    model: str | None
    user_id: str | None
    requests: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    cost: str | None
    unpriced_requests: int

    @classmethod
    def of(cls, one: UsageSum) -> Self:
        usage, values = one.usage, one.values
        return cls(
            day=values.get(Dimension.DAY),  # type: ignore[arg-type] # each dimension has a type of its own
            agent=values.get(Dimension.AGENT),  # type: ignore[arg-type]
            chat_id=values.get(Dimension.CHAT),  # type: ignore[arg-type]
            model=values.get(Dimension.MODEL),  # type: ignore[arg-type]
            user_id=values.get(Dimension.USER),  # type: ignore[arg-type]
            requests=usage.requests,
            tool_calls=usage.tool_calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            seconds=one.milliseconds / 1000,
            cost=None if usage.cost is None else f"{usage.cost.normalize():f}",
            unpriced_requests=one.unpriced_requests,
        )


class UsagePageOut(Struct, frozen=True):
    items: Sequence[UsageOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[UsageSum]) -> Self:
        return cls([UsageOut.of(one) for one in page.items], page.total, page.limit, page.offset)


def filter_of(*, user_id: str | None, agent: str | None, chat_id: int | None, model: str | None) -> UsageFilter:
    """Errors: ValidationFailed, for a text that nothing stored could be equal to."""
    texts = {"user_id": user_id, "agent": agent, "model": model}
    problems = [
        FieldError(name, f"must have at most {TEXT_LIMIT_CHARS} characters, and none that cannot be stored")
        for name, text in texts.items()
        if text is not None and (len(text) > TEXT_LIMIT_CHARS or _UNSTORABLE.search(text))
    ]
    if problems:
        raise ValidationFailed("Some filters are not valid.", errors=problems)
    return UsageFilter(
        user_id=None if user_id is None else UserId(user_id),
        agent=agent,
        chat_id=None if chat_id is None else ChatId(chat_id),
        model=model,
    )


def dimensions_of(text: str) -> Sequence[Dimension]:
    """Read a list of dimensions; empty is one sum of everything. Errors: ValidationFailed."""
    given = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    known = {dimension.value for dimension in Dimension}
    if given.keys() - known:
        message = f"must be a list of some of {', '.join(sorted(known))}"
        raise ValidationFailed("Some filters are not valid.", errors=[FieldError("by", message)])
    return [Dimension(one) for one in given]
