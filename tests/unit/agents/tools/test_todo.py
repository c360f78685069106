"""An agent's plan: written over the revision that was read, told to who follows, kept for its chat."""

import pytest

from app.agents.contract import ToolRefused
from app.agents.tools.todo import READ, WRITE, Todo
from app.kernel.values import Json
from tests.unit.agents.house import Rooms, elsewhere

FIRST: list[Json] = [{"text": "Look", "status": "in_progress"}, {"text": "Tell", "status": "pending"}]


async def test_a_plan_is_kept_for_its_chat_and_each_change_is_told() -> None:
    rooms = Rooms()

    assert await rooms.call(Todo(), READ) == {"revision": 0, "items": []}
    assert await rooms.call(Todo(), WRITE, items=FIRST, revision=0) == {"revision": 1}
    assert await rooms.call(Todo(), READ) == {"revision": 1, "items": FIRST}
    assert await rooms.call(Todo(), READ, turn=elsewhere()) == {"revision": 0, "items": []}
    assert rooms.progress == [{"kind": "plan", "revision": 1, "items": FIRST}]


async def test_who_wrote_over_an_old_one_is_shown_the_new() -> None:
    rooms = Rooms()
    await rooms.call(Todo(), WRITE, items=FIRST, revision=0)

    with pytest.raises(ToolRefused, match=r"changed meanwhile.*'revision': 1"):
        await rooms.call(Todo(), WRITE, items=[], revision=0)

    assert len(rooms.progress) == 1
    assert await rooms.call(Todo(), WRITE, items=[], revision=1) == {"revision": 2}


@pytest.mark.parametrize(
    ("items", "revision", "word"),
    [
        ("look", 0, "items is a list"),
        ([{"text": "x", "status": "pending"}] * 51, 0, "at most 50"),
        ([{"text": "x", "status": "perhaps"}], 0, "a status: pending, in_progress, done"),
        ([{"text": "", "status": "done"}], 0, "a text of 1 to 200"),
        ([{"text": "x" * 201, "status": "done"}], 0, "a text of 1 to 200"),
        (["x"], 0, "an item has a text"),
        ([], -1, "0 for the first plan"),
        ([], True, "0 for the first plan"),
    ],
)
async def test_what_does_not_fit_is_said(items: Json, revision: Json, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        await Rooms().call(Todo(), WRITE, items=items, revision=revision)
