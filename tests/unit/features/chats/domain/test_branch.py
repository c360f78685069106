from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.chats.domain.branch import (
    MAX_BRANCHES,
    Departure,
    Head,
    MessageNotEditable,
    NothingToRegenerate,
    Position,
    Spot,
    TooManyBranches,
    departure_behind,
    departure_of_edit,
    question_of,
    refuse_too_many,
    versions_of,
)
from app.features.chats.domain.message import Message, MessageRole, MessageStatus
from app.kernel.ids import ChatId, MessageId, UserId

ANN, NOW = UserId("ann"), datetime(2026, 1, 1, tzinfo=UTC)
USER, ASSISTANT, SYSTEM = MessageRole.USER, MessageRole.ASSISTANT, MessageRole.SYSTEM
EDITED, ANEW = Departure(0, Position(5, 5)), Departure(0, Position(5, 6))


def spot(
    id_: int,
    role: MessageRole = USER,
    *,
    branch: int = 0,
    question: int | None = None,
    departure: Departure | None = None,
    is_first: bool = False,
) -> Spot:
    said = Message(MessageId(id_), ChatId(1), role, "x", True, MessageStatus.COMPLETE, NOW, NOW, branch=branch)
    return Spot(said, ANN, None if question is None else MessageId(question), departure, is_first)


def heads(departure: Departure, *branches_and_messages: tuple[int, int]) -> list[Head]:
    return [Head(departure, branch, MessageId(message)) for branch, message in branches_and_messages]


@pytest.mark.parametrize(
    ("edited", "departure"),
    [
        pytest.param(spot(7), Departure(0, Position(7, 7)), id="in the first branch"),
        pytest.param(spot(1, is_first=True), Departure(0, Position(1, 1)), id="the very first message"),
        pytest.param(spot(9, branch=2, departure=EDITED), Departure(2, Position(9, 9)), id="within a branch"),
        pytest.param(spot(8, branch=2, departure=EDITED, is_first=True), EDITED, id="an edit again: a sibling"),
        pytest.param(
            spot(8, branch=2, departure=ANEW, is_first=True),
            Departure(2, Position(8, 8)),
            id="behind an answer that has not come yet",
        ),
    ],
)
def test_what_is_said_otherwise_leaves_in_its_place(edited: Spot, departure: Departure) -> None:
    assert departure_of_edit(edited) == departure


@pytest.mark.parametrize("role", [ASSISTANT, SYSTEM])
def test_only_what_a_user_said_is_said_otherwise(role: MessageRole) -> None:
    with pytest.raises(MessageNotEditable):
        departure_of_edit(spot(7, role))


def test_a_question_and_its_answers_are_answered_anew_behind_the_question() -> None:
    assert [question_of(one) for one in (spot(5), spot(6, ASSISTANT, question=5))] == [5, 5]
    assert departure_behind(spot(5, branch=3)) == Departure(3, Position(5, 6))


@pytest.mark.parametrize("role", [ASSISTANT, SYSTEM])
def test_what_nobody_asked_is_not_answered_anew(role: MessageRole) -> None:
    with pytest.raises(NothingToRegenerate):
        question_of(spot(7, role))


def test_a_thousand_branches_and_no_more() -> None:
    refuse_too_many(MAX_BRANCHES)

    with pytest.raises(TooManyBranches):
        refuse_too_many(MAX_BRANCHES + 1)


def test_an_answer_stands_in_the_place_of_its_question() -> None:
    assert [spot(5).position, spot(9, ASSISTANT, question=5).position] == [(5, 5), (5, 9)]


@pytest.mark.parametrize(
    ("found", "versions"),
    [
        pytest.param([], {}, id="no branches"),
        pytest.param(heads(EDITED, (1, 8)), {}, id="one that is left over"),
        pytest.param(heads(EDITED, (1, 8), (0, 5)), {5: [5, 8], 8: [5, 8]}, id="two"),
        pytest.param(
            heads(EDITED, (0, 30), (4, 20), (1, 8)),
            {30: [30, 8, 20], 8: [30, 8, 20], 20: [30, 8, 20]},
            id="by branch, whatever was answered again since",
        ),
        pytest.param(
            [*heads(EDITED, (0, 5), (1, 8)), *heads(ANEW, (0, 6), (2, 10))],
            {5: [5, 8], 8: [5, 8], 6: [6, 10], 10: [6, 10]},
            id="two places",
        ),
        pytest.param(
            [*heads(ANEW, (0, 6), (1, 8)), *heads(Departure(1, Position(8, 8)), (1, 8), (2, 10))],
            {6: [6, 8, 10], 8: [6, 8, 10], 10: [6, 8, 10]},
            id="nothing between two departures: one place",
        ),
    ],
)
def test_versions_are_what_stands_behind_one_departure(
    found: Sequence[Head], versions: dict[int, Sequence[int]]
) -> None:
    assert versions_of(found) == versions


@given(
    st.lists(
        st.builds(
            lambda parent, place, branch, message: Head(Departure(parent, Position(place, place)), branch, message),
            st.integers(0, 3),
            st.integers(1, 4),
            st.integers(0, 6),
            st.integers(1, 9).map(MessageId),
        )
    )
)
def test_versions_are_groups_without_overlap(found: list[Head]) -> None:
    versions = versions_of(found)

    for message, group in versions.items():
        assert message in group
        assert len(group) == len(set(group)) > 1
        assert all(versions[other] == group for other in group)
