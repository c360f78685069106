"""What fits into a model's window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.contract import PastMessage
from app.agents.llm.window import estimate_tokens, fit, tokens_of
from tests.unit.agents.desk import an_exchange

MESSAGES = st.lists(
    st.builds(PastMessage, st.sampled_from(["user", "assistant", "system"]), st.text(max_size=60)), max_size=30
)
LIMITS = st.integers(0, 600)
STEPS = st.integers(1, 300)


@given(history=MESSAGES, limit=LIMITS, step=STEPS)
def test_what_is_kept_always_fits(history: list[PastMessage], limit: int, step: int) -> None:
    assert tokens_of(fit(history, limit_tokens=limit, step_tokens=step)) <= limit


@given(history=MESSAGES, limit=LIMITS, step=STEPS)
def test_what_is_kept_never_starts_with_an_answer(history: list[PastMessage], limit: int, step: int) -> None:
    talk = [message for message in fit(history, limit_tokens=limit, step_tokens=step) if message.role != "system"]

    assert not talk or talk[0].role == "user"


@given(history=MESSAGES, limit=LIMITS, step=STEPS)
def test_the_newest_are_kept_in_order_without_a_gap(history: list[PastMessage], limit: int, step: int) -> None:
    kept = [message for message in fit(history, limit_tokens=limit, step_tokens=step) if message.role != "system"]
    talk = [message for message in history if message.role != "system"]

    assert not kept or kept == talk[-len(kept) :]


@given(history=MESSAGES, limit=LIMITS, step=STEPS)
def test_no_turn_is_cut_in_half(history: list[PastMessage], limit: int, step: int) -> None:
    talk = [message for message in history if message.role != "system"]
    kept = [message for message in fit(history, limit_tokens=limit, step_tokens=step) if message.role != "system"]

    before = talk[: len(talk) - len(kept)]
    assert not kept or not before or before[-1].role == "assistant"


@given(history=MESSAGES)
def test_all_is_kept_where_there_is_room(history: list[PastMessage]) -> None:
    first = next((position for position, message in enumerate(history) if message.role == "user"), len(history))
    greetings = [message for message in history[:first] if message.role == "assistant"]

    kept = fit(history, limit_tokens=100_000, step_tokens=100)

    assert len(kept) == len(history) - len(greetings)


@given(history=MESSAGES, limit=LIMITS, step=STEPS)
def test_the_newest_turn_is_kept_if_it_fits(history: list[PastMessage], limit: int, step: int) -> None:
    talk = [message for message in history if message.role != "system"]
    newest = fit(talk, limit_tokens=limit, step_tokens=1)

    assert bool(newest) == bool(fit(talk, limit_tokens=limit, step_tokens=step))


def test_a_growing_conversation_starts_the_same_for_many_turns() -> None:
    history: list[PastMessage] = []
    starts = []
    for turn in range(100):
        history += an_exchange(f"question {turn} " + "word " * 10, "answer " * 10)
        starts.append(fit(history, limit_tokens=1000, step_tokens=250)[0].content)

    assert len(set(starts)) < 25
    assert starts[-1] != starts[0]


def test_a_system_message_outlives_the_turns_around_it() -> None:
    history = [PastMessage("system", "Speak French."), *an_exchange("old " * 50, "yes"), *an_exchange("new", "yes")]

    kept = fit(history, limit_tokens=60, step_tokens=10)

    assert [message.content for message in kept] == ["Speak French.", "new", "yes"]


@given(st.text())
def test_the_estimate_never_exceeds_the_bytes(text: str) -> None:
    assert estimate_tokens(text) <= len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("Hello there", 4), ("1234567890", 10), ("\u00e9", 2), ("\ud800", 3)],
    ids=["empty", "words", "digits", "accent", "half a pair"],
)
def test_the_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
