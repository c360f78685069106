"""The agenda agent: its commands, where the model calls no tools, and its tools, where it does."""

import pytest

from app.agents.front_door import FrontDoorUnavailable
from app.agents.library.agenda import HELP, agent
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.turns import Unwritten
from tests.fakes.front_door import BY_RANGE, CALENDARS, FakeFrontDoor
from tests.unit.agents.desk import a_caller, a_desk, a_turn


async def say(text: str, door: FakeFrontDoor, *, user_id: str = "7") -> str:
    async with a_desk(agent, model=ScriptedModel(calls_tools=False), front_door=door) as desk:
        said = await desk.answer("agenda", a_turn(text, caller=a_caller(user_id)), journal=Unwritten(), timeout_s=10)
        return said.text


async def test_calendars_are_made_listed_and_deleted() -> None:
    door = FakeFrontDoor()

    assert await say("create Summer in Rome", door) == "Created calendar 1: Summer in Rome."
    assert await say("LIST", door) == "1: Summer in Rome"
    assert await say("delete 1", door) == "Calendar 1 is deleted."
    assert await say("list", door) == "You have no calendars; make one with: create NAME"


async def test_each_command_is_done_as_the_person_who_asked() -> None:
    door = FakeFrontDoor()

    await say("create Mine", door, user_id="42")

    assert await say("list", door, user_id="7") == "You have no calendars; make one with: create NAME"
    assert [asked.caller.user_id for asked in door.asked] == ["42", "7"]


async def test_events_of_a_range_are_listed_in_lines() -> None:
    door = FakeFrontDoor(
        events=[
            {"id": 1, "calendarId": 1, "summary": "Lunch", "dtstart": "2026-01-02T12:30:00Z", "dtend": None},
            {"id": 2, "calendarId": 1, "summary": "Report", "dtstart": None, "dtend": "2026-01-03T09:00:00Z"},
            {"id": 3, "calendarId": 1, "summary": "Some day"},
        ]
    )

    answer = await say("events 2026-01-01 2026-01-31", door)

    assert answer == "2026-01-02 12:30  Lunch\n2026-01-03 09:00  Report\nSome day"
    assert door.asked[0].path == BY_RANGE
    assert door.asked[0].query == {"start_date": "2026-01-01", "end_date": "2026-01-31", "limit": "100"}


async def test_no_events_are_told_as_such() -> None:
    assert await say("events 2026-01-01 2026-01-31", FakeFrontDoor()) == "There are no events in that time."


async def test_what_does_not_fit_on_a_page_is_counted() -> None:
    door = FakeFrontDoor(body=b'{"items": [{"id": 1, "name": "A"}], "total": 3}')

    assert await say("list", door) == "1: A\nand 2 more"


@pytest.mark.parametrize(
    "text",
    ["help", "", "hello there", "create", "events today", "delete all", "delete", "list all", "delete " + "9" * 30],
)
async def test_everything_else_gets_the_commands_and_why_there_are_any(text: str) -> None:
    door = FakeFrontDoor()

    answer = await say(text, door)

    assert answer == HELP
    assert "cannot call tools" in answer
    assert not door.asked


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "does not understand"),
        (401, "log in again"),
        (403, "may not"),
        (404, "nothing like that"),
        (429, "later"),
        (500, "status 500"),
        (503, "status 503"),
    ],
)
async def test_a_refusal_is_told_in_plain_words(status: int, words: str) -> None:
    assert words in await say("delete 5", FakeFrontDoor(refuses_with=status))


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"items": 3}', b"\xff"], ids=["html", "empty", "shape", "bytes"])
async def test_an_answer_that_is_no_agenda_is_told_as_such(body: bytes) -> None:
    assert await say("list", FakeFrontDoor(body=body)) == "The agenda's answer cannot be read."


async def test_a_front_door_that_is_gone_is_the_turns_failure() -> None:
    with pytest.raises(FrontDoorUnavailable):
        await say("list", FakeFrontDoor(is_gone=True))


async def test_a_model_with_tools_does_the_same_work() -> None:
    door = FakeFrontDoor()
    model = ScriptedModel(
        Call("create_calendar", {"name": "Work"}),
        Call("list_calendars", {}),
        Call("list_events", {"start": "2026-01-01", "end": "2026-01-31"}),
        Call("delete_calendar", {"calendar_id": 1}),
        "All done.",
    )

    async with a_desk(agent, model=model, front_door=door) as desk:
        answer = (
            await desk.answer("agenda", a_turn("Tidy up", caller=a_caller("42")), journal=Unwritten(), timeout_s=10)
        ).text

    assert answer == "All done."
    assert model.seen[-1].results == (
        '{"id":1,"name":"Work"}',
        '{"items":[{"id":1,"name":"Work"}],"total":1}',
        '{"items":[],"total":0}',
        "Calendar 1 is deleted.",
    )
    assert [(asked.method, asked.path, asked.caller.user_id) for asked in door.asked] == [
        ("POST", CALENDARS, "42"),
        ("GET", CALENDARS, "42"),
        ("GET", BY_RANGE, "42"),
        ("DELETE", f"{CALENDARS}1", "42"),
    ]


async def test_a_model_that_is_refused_is_told_why() -> None:
    model = ScriptedModel(Call("delete_calendar", {"calendar_id": 1}), "Sorry.")

    async with a_desk(agent, model=model, front_door=FakeFrontDoor(refuses_with=403)) as desk:
        await desk.answer("agenda", a_turn(), journal=Unwritten(), timeout_s=10)

    assert "You may not do this in the agenda." in model.seen[-1].results[0]
