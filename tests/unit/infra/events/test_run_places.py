"""The one place from which a chat may be followed again."""

from datetime import UTC, datetime

from app.infra.events.ports import EventType, RunEvent, RunsCursor
from app.infra.events.run_places import MAX_OVER, RunPlaces
from app.kernel.ids import ChatId, RunId, new_run_id

A, B, C = new_run_id(), new_run_id(), new_run_id()


def an_event(run_id: RunId, seq: int, type_: EventType = EventType.TEXT_DELTA) -> RunEvent:
    return RunEvent(seq, type_, run_id, ChatId(1), datetime.now(UTC), {})


def test_the_place_is_in_the_eldest_run_that_is_alive() -> None:
    places = RunPlaces()

    given = [
        places.note(an_event(A, 1)),
        places.note(an_event(B, 1)),
        places.note(an_event(A, 2)),
        places.note(an_event(B, 2, EventType.RUN_COMPLETED)),
        places.note(an_event(A, 3, EventType.RUN_FAILED)),
        places.note(an_event(C, 1)),
    ]

    assert given == [
        RunsCursor(A, 1),
        RunsCursor(A, 1),
        RunsCursor(A, 2),
        RunsCursor(A, 2),
        RunsCursor(B, 2),
        RunsCursor(C, 1),
    ]


def test_what_was_given_is_not_given_again() -> None:
    places = RunPlaces(RunsCursor(A, 5))

    assert places.note(an_event(A, 5)) is None
    assert places.note(an_event(A, 6, EventType.RUN_INTERRUPTED)) == RunsCursor(A, 6)
    assert places.note(an_event(A, 6, EventType.RUN_INTERRUPTED)) is None
    assert places.note(an_event(A, 2)) is None


def test_a_run_that_was_over_when_the_follower_came_holds_no_place() -> None:
    places = RunPlaces(RunsCursor(A, 5))

    places.note_over(A)

    assert places.is_over(A)
    assert places.cursor == RunsCursor(A, 5)
    assert places.note(an_event(B, 1)) == RunsCursor(B, 1)


def test_runs_that_are_over_are_not_remembered_for_ever() -> None:
    places = RunPlaces()
    runs = [new_run_id() for _ in range(MAX_OVER + 10)]

    for run_id in runs:
        places.note_over(run_id)

    assert not places.is_over(runs[0])
    assert places.is_over(runs[-1])
    assert len(places._over) == MAX_OVER
