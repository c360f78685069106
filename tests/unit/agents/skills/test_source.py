"""Skills as tools: named in the instructions, read when they are wanted, with a state that belongs to one chat."""

import pytest

from app.agents.contract import ToolRefused
from app.agents.house import NOTE_LIMIT_BYTES, House, Skill
from app.agents.skills.going_by import going_by, introduced
from app.agents.skills.source import LOAD, READ_STATE, WRITE_STATE, Skills
from app.kernel.values import Json
from tests.unit.agents.desk import a_caller, a_turn, an_agent
from tests.unit.agents.house import Rooms, elsewhere

PROOF = Skill("proofread", "Finds mistakes.", "Read it twice.", parts={"commas.md": "Fewer."})
DIG = Skill("dig", "Digs.", "Dig deep.", model="openai:deep", tools=("recall",))
ROOMS = {"proofread": PROOF, "dig": DIG}


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(ROOMS)


def test_the_instructions_name_skills_in_a_line_each_and_hold_none() -> None:
    spec = an_agent(tools=[Skills("proofread")])

    told = introduced(spec, House(skills=ROOMS)).instructions

    assert told.startswith("Help.\n\n")
    assert told.endswith("\n- proofread: Finds mistakes.")
    assert "twice" not in told
    assert introduced(spec, House()) is spec
    assert introduced(an_agent(), House(skills=ROOMS)).instructions == "Help."


async def test_a_skill_is_read_whole_and_its_parts_one_by_one(rooms: Rooms) -> None:
    assert await rooms.call(Skills(), LOAD, name="proofread") == (
        "Read it twice.\n\nFurther parts, for load_skill: commas.md"
    )
    assert await rooms.call(Skills(), LOAD, name="proofread", part="commas.md") == "Fewer."
    with pytest.raises(ToolRefused, match=r"it has: commas\.md"):
        await rooms.call(Skills(), LOAD, name="proofread", part="../../etc/passwd")
    with pytest.raises(ValueError, match="there is no skill 'dig'; there are: proofread"):
        await rooms.call(Skills("proofread"), LOAD, name="dig")


async def test_where_there_are_none_there_are_no_tools() -> None:
    assert await Rooms().tools(Skills()) == {}
    assert set(await Rooms(ROOMS).tools(Skills())) == {LOAD, READ_STATE, WRITE_STATE}


async def test_a_state_belongs_to_a_chat_a_skill_and_a_person(rooms: Rooms) -> None:
    await rooms.call(Skills(), WRITE_STATE, name="dig", state={"at": 3})

    assert await rooms.call(Skills(), READ_STATE, name="dig") == {"state": {"at": 3}, "revision": 1}
    nothing = {"state": None, "revision": 0}
    assert await rooms.call(Skills(), READ_STATE, name="proofread") == nothing
    assert await rooms.call(Skills(), READ_STATE, name="dig", turn=elsewhere()) == nothing
    assert await rooms.call(Skills(), READ_STATE, name="dig", turn=a_turn(caller=a_caller("8"))) == nothing


async def test_what_was_written_meanwhile_is_not_lost(rooms: Rooms) -> None:
    await rooms.call(Skills(), WRITE_STATE, name="dig", state={"at": 1}, revision=0)

    with pytest.raises(ToolRefused, match=r'at revision 1; it says now: {"at": 1}'):
        await rooms.call(Skills(), WRITE_STATE, name="dig", state={"at": 2}, revision=0)

    await rooms.call(Skills(), WRITE_STATE, name="dig", state={"at": 2}, revision=1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"state": "text"}, "an object of JSON"),
        ({"state": {"x": "y" * NOTE_LIMIT_BYTES}}, "keep what matters"),
        ({"state": {}, "revision": "1"}, "revision is a whole number"),
        ({"state": {}, "colour": "red"}, "colour is no argument"),
    ],
)
async def test_what_does_not_fit_is_said(rooms: Rooms, arguments: dict[str, Json], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        await rooms.call(Skills(), WRITE_STATE, turn=None, name="dig", **arguments)


def test_whoever_does_a_skill_has_its_text_and_its_model() -> None:
    spec = an_agent(model="openai:own")

    assert going_by(spec, None) is spec
    assert going_by(spec, DIG).model == "openai:deep"
    assert going_by(spec, PROOF).model == "openai:own"
    assert "Go by this:\n\nRead it twice." in going_by(spec, PROOF).instructions
