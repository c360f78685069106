"""What the events of a turn come to, and the turn nobody writes down."""

from decimal import Decimal

import pytest

from app.agents.turns import Fold, TurnEvent, Unmetered, Unwritten, Usage
from app.kernel.values import Json


def folded(*events: tuple[str, dict[str, Json]]) -> Fold:
    fold = Fold()
    for type_, data in events:
        fold.add(type_, data)
    return fold


def a_delta(text: str, request: int = 1) -> tuple[str, dict[str, Json]]:
    return "text_delta", {"request": request, "text": text}


def test_the_texts_of_all_requests_are_the_answer() -> None:
    assert folded(a_delta("a"), a_delta("b"), a_delta("c", 2)).text == "abc"


def test_what_a_retry_names_is_void_and_nothing_else() -> None:
    retry: tuple[str, dict[str, Json]] = ("stream_retry", {"request": 2, "reason": "broken_off"})

    assert folded(a_delta("a"), a_delta("x", 2), retry, a_delta("b", 2)).text == "ab"


@pytest.mark.parametrize(
    "event",
    [
        ("run_started", {}),
        ("thinking_delta", {"request": 1, "text": "hm"}),
        ("stream_retry", {"tool_call_id": "c1", "reason": "resumed"}),
        ("tool_output_chunk", {"tool_call_id": "c1", "text": "out"}),
        ("a_word_of_tomorrow", {"text": "?"}),
    ],
    ids=lambda event: str(event[0]),
)
def test_other_events_change_nothing(event: tuple[str, dict[str, Json]]) -> None:
    fold = folded(a_delta("a"), event)

    assert (fold.text, fold.usage) == ("a", Usage())


def test_usage_is_summed_with_the_calls_that_were_completed() -> None:
    usage: dict[str, Json] = {"request": 1, "input_tokens": 5, "output_tokens": 2, "cost": "0.001"}

    fold = folded(("usage", usage), ("tool_call_complete", {}), ("usage", usage | {"cost": None}))

    assert fold.usage == Usage(10, 4, requests=2, tool_calls=1, cost=Decimal("0.001"))


@pytest.mark.parametrize(
    ("one", "other", "total"),
    [(None, None, None), (Decimal(1), None, Decimal(1)), (None, Decimal(2), Decimal(2)), (Decimal(1), Decimal(2), 3)],
)
def test_a_cost_is_unknown_only_where_none_is_known(
    one: Decimal | None, other: Decimal | None, total: Decimal | None
) -> None:
    assert (Usage(cost=one) + Usage(cost=other)).cost == total


async def test_a_turn_nobody_writes_down_has_a_key_for_each_step_and_remembers_nothing() -> None:
    journal = Unwritten()

    async def body(key: str) -> Json:
        return key

    keys = {await journal.step("one", body), await journal.step("one", body), await Unwritten().step("one", body)}
    await journal.tell(TurnEvent("text_delta", {}))

    assert len(keys) == 3
    assert not journal.is_resumed


async def test_a_turn_nobody_pays_for_may_spend() -> None:
    await Unmetered().reserve("key", Usage(requests=10**9))
    await Unmetered().settle("key", Usage(requests=10**9))
