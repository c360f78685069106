"""What agents remember of a person: of that person alone, once each, and forgotten when told."""

from collections.abc import Mapping
from typing import cast

import pytest

from app.agents.contract import ToolRefused
from app.agents.tools.memory import FORGET, RECALL, REMEMBER, Memory
from app.kernel.values import Json
from tests.unit.agents.desk import a_caller, a_turn
from tests.unit.agents.house import Rooms, elsewhere


def texts(found: object) -> list[Json]:
    memories = cast("Mapping[str, list[Mapping[str, Json]]]", found)["memories"]
    return [one["text"] for one in memories]


async def test_what_is_remembered_in_one_chat_is_known_in_another_and_to_nobody_else() -> None:
    rooms = Rooms()
    made = cast(
        "Mapping[str, Json]", await rooms.call(Memory(), REMEMBER, text=" Lives in Bern. ", tags=["home", "home "])
    )

    assert (made["text"], made["tags"]) == ("Lives in Bern.", ["home"])
    assert texts(await rooms.call(Memory(), RECALL, query="where is home?", turn=elsewhere())) == ["Lives in Bern."]
    assert texts(await rooms.call(Memory(), RECALL, turn=elsewhere())) == ["Lives in Bern."]
    bob = a_turn(caller=a_caller("8"))
    assert texts(await rooms.call(Memory(), RECALL, turn=bob)) == []
    with pytest.raises(ToolRefused, match="Nothing of this id is remembered; recall tells"):
        await rooms.call(Memory(), FORGET, id=made["id"], turn=bob)
    assert await rooms.call(Memory(), FORGET, id=made["id"]) == {"forgotten": made["id"]}
    assert texts(await rooms.call(Memory(), RECALL)) == []


async def test_who_is_remembered_too_well_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.features.memory.gate.MEMORIES_LIMIT", 1)
    rooms = Rooms()
    await rooms.call(Memory(), REMEMBER, text="One.")

    with pytest.raises(ToolRefused, match="forget what is not true"):
        await rooms.call(Memory(), REMEMBER, text="Two.")


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        (REMEMBER, {"text": "  "}, "text has 1 to 2000"),
        (REMEMBER, {"text": "x" * 2001}, "text has 1 to 2000"),
        (REMEMBER, {"text": "x", "tags": "home"}, "tags is a list"),
        (REMEMBER, {"text": "x", "tags": ["t"] * 11}, "tags is a list of at most 10"),
        (REMEMBER, {"text": "x", "tags": [5]}, "a tag has 1 to 64"),
        (RECALL, {"query": 5}, "query is a text"),
        (FORGET, {"id": True}, "id is a number"),
        (FORGET, {"id": 2**63}, "id is a number"),
    ],
)
async def test_what_does_not_fit_is_said(name: str, arguments: dict[str, Json], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        await Rooms().call(Memory(), name, turn=None, **arguments)
