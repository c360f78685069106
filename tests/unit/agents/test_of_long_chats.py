"""A chat that outgrows the model's window: what is left out is summed up once, by the model, within the budget."""

import pytest
from pydantic_ai.exceptions import ModelAPIError

from app.agents.contract import PastMessage
from app.agents.llm.compaction import LEAST_WINDOW_TOKENS, OPENING
from app.agents.llm.scripted import ScriptedModel
from app.agents.turns import BudgetReached
from tests.fakes.journal import Died, FakeJournal, FakeSpending
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange

TURNS = 30
HISTORY = tuple(one for number in range(TURNS) for one in an_exchange(f"question {number}", "word " * 150))
LATER = (*HISTORY, *an_exchange("one more", "yes"))


def a_model(*script: object, window_tokens: int = LEAST_WINDOW_TOKENS) -> ScriptedModel:
    return ScriptedModel(*script, window_tokens=window_tokens)  # type: ignore[arg-type] # as given


async def test_what_is_left_out_is_summed_up_and_told(journal: FakeJournal) -> None:
    model, spending = a_model("They spoke of 30 things.", "Yes."), FakeSpending()

    async with a_desk(an_agent(), model=model) as desk:
        said = await desk.answer(
            "helper", a_turn("Now?", history=HISTORY), journal=journal, timeout_s=30, spending=spending
        )

    asked, answered = model.seen
    (told,) = journal.of("run_progress")
    assert said.text == journal.fold.text == "Yes."
    assert "question 0" in asked.said_by_user[0]
    assert answered.messages[0] == PastMessage("system", f"{OPENING}They spoke of 30 things.")
    assert answered.said_by_user[-1] == "Now?"
    assert told.data == {
        "kind": "history_compacted",
        "messages": 60 - len(answered.messages) + 2,
        "is_summarised": True,
    }
    assert said.usage.requests == journal.fold.usage.requests == 2
    assert [key for key, _ in spending.settled] == ["run/summary#1.1", "run/model#1.1"]
    assert not spending.open


async def test_it_is_not_summed_up_again_by_the_next_turn() -> None:
    model = a_model("In short.", "One.", "Two.")

    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=HISTORY), journal=FakeJournal(), timeout_s=30)
        second = FakeJournal()
        said = await desk.answer("helper", a_turn(history=LATER), journal=second, timeout_s=30)

    assert said.text == "Two."
    assert not second.of("run_progress")
    assert model.seen[-1].messages[0].content == f"{OPENING}In short."


async def test_it_goes_on_from_what_was_summed_up() -> None:
    model = a_model("In short.", "One.", "Longer.", "Two.")
    much_later = (*HISTORY, *HISTORY[:20])

    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=HISTORY), journal=FakeJournal(), timeout_s=30)
        await desk.answer("helper", a_turn(history=much_later), journal=FakeJournal(), timeout_s=30)

    record = model.seen[2].said_by_user[0]
    assert record.startswith(f"{OPENING}In short.")
    assert record.count("question 0\n") == 1  # of the turns that came since


async def test_what_was_changed_since_is_summed_up_anew() -> None:
    model = a_model("With a secret.", "One.", "Without.", "Two.")
    changed = (PastMessage("user", "nothing"), *HISTORY[1:])

    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=HISTORY), journal=FakeJournal(), timeout_s=30)
        await desk.answer("helper", a_turn(history=changed), journal=FakeJournal(), timeout_s=30)

    assert "With a secret." not in model.seen[2].said_by_user[0]
    assert model.seen[3].messages[0].content == f"{OPENING}Without."


@pytest.mark.parametrize("answer", ["", ModelAPIError("scripted", "gone")], ids=["nothing", "an error"])
async def test_without_a_summary_the_oldest_turns_are_left_out(journal: FakeJournal, answer: object) -> None:
    model = a_model(answer, "Yes.")

    async with a_desk(an_agent(), model=model) as desk:
        said = await desk.answer("helper", a_turn(history=HISTORY), journal=journal, timeout_s=30)

    (told,) = journal.of("run_progress")
    assert said.text == "Yes."
    assert told.data["is_summarised"] is False
    assert model.seen[-1].messages[0].role == "user"


async def test_a_small_window_is_only_trimmed(journal: FakeJournal) -> None:
    model = a_model("Yes.", window_tokens=LEAST_WINDOW_TOKENS - 1)

    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=HISTORY), journal=journal, timeout_s=30)

    assert len(model.seen) == 1


async def test_a_summary_is_spent_from_the_budget(journal: FakeJournal) -> None:
    model = a_model("never")

    async with a_desk(an_agent(), model=model) as desk:
        with pytest.raises(BudgetReached):
            await desk.answer(
                "helper", a_turn(history=HISTORY), journal=journal, timeout_s=30, spending=FakeSpending(allows=0)
            )

    assert not model.seen


async def test_a_turn_that_died_behind_its_summary_does_not_ask_for_it_again() -> None:
    first = FakeJournal()
    first.dies_when = lambda: "run/summary#1" in first.kept
    async with a_desk(an_agent(), model=a_model("In short.")) as desk:
        with pytest.raises(Died):
            await desk.answer("helper", a_turn(history=HISTORY), journal=first, timeout_s=30)

    model = a_model("Yes.")
    async with a_desk(an_agent(), model=model) as desk:  # another process, which remembers nothing
        said = await desk.answer("helper", a_turn(history=HISTORY), journal=first.resumed(), timeout_s=30)

    assert said.text == "Yes."
    assert len(model.seen) == 1
    assert model.seen[0].messages[0].content == f"{OPENING}In short."


async def test_where_only_the_systems_words_are_too_many_there_is_nothing_to_sum_up(journal: FakeJournal) -> None:
    model = a_model("Yes.")
    history = (PastMessage("system", "word " * 3000), *an_exchange("before", "yes"))

    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=history), journal=journal, timeout_s=30)

    assert len(model.seen) == 1
    assert model.seen[0].said_by_user[0] == "before"
