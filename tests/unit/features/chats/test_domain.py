from datetime import UTC, datetime
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.chats.domain.chat import ChatChange, NewChat
from app.features.chats.domain.history import trim_history
from app.features.chats.domain.message import Message, MessageRole, MessageStatus
from app.kernel.ids import ChatId, MessageId, UserId
from app.kernel.storable import json_problem, storable_text, text_problem

ROLES = {"u": MessageRole.USER, "a": MessageRole.ASSISTANT, "s": MessageRole.SYSTEM}
LETTERS = {role: letter for letter, role in ROLES.items()}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def said(roles: str, content: str = "x") -> list[Message]:
    return [
        Message(MessageId(number), ChatId(1), ROLES[role], content, True, MessageStatus.COMPLETE, NOW, NOW)
        for number, role in enumerate(roles, start=1)
    ]


@pytest.mark.parametrize(
    ("roles", "limit_messages", "kept"),
    [
        pytest.param("", 10, "", id="nothing"),
        pytest.param("uaua", 10, "uaua", id="everything fits"),
        pytest.param("uauaua", 3, "ua", id="cut where a turn begins"),
        pytest.param("uauaua", 4, "uaua", id="cut exactly there"),
        pytest.param("aua", 10, "ua", id="an answer without its question goes"),
        pytest.param("aa", 10, "", id="only answers"),
        pytest.param("sua", 10, "sua", id="system before its turn stays"),
        pytest.param("uassua", 4, "ssua", id="system goes with the turn after it"),
        pytest.param("usaua", 4, "ua", id="system within a turn is no beginning"),
        pytest.param("s", 10, "s", id="system before the turn that asks"),
        pytest.param("uas", 1, "s", id="only the system's fits"),
        pytest.param("ua", 1, "", id="half a turn is none"),
    ],
)
def test_history_starts_with_a_turn(roles: str, limit_messages: int, kept: str) -> None:
    trimmed = trim_history(said(roles), limit_messages=limit_messages)

    assert "".join(LETTERS[message.role] for message in trimmed) == kept


def test_history_is_bounded_by_bytes_of_utf8() -> None:
    messages = said("uaua", "é")

    assert len(trim_history(messages, limit_bytes=8)) == 4
    assert len(trim_history(messages, limit_bytes=7)) == 2
    assert len(trim_history(messages, limit_bytes=3)) == 0


@given(st.text("uas", max_size=30), st.integers(0, 30), st.integers(0, 40))
def test_history_is_always_an_end_of_the_chat_within_its_limits(
    roles: str, limit_messages: int, limit_bytes: int
) -> None:
    messages = said(roles)

    kept = list(trim_history(messages, limit_messages=limit_messages, limit_bytes=limit_bytes))

    assert kept == messages[len(messages) - len(kept) :]
    assert len(kept) <= min(limit_messages, limit_bytes)
    assert not kept or kept[0].role is not MessageRole.ASSISTANT


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        pytest.param({}, None, id="empty"),
        pytest.param({"a": [1, 2.5, True, None, {"b": "😀"}]}, None, id="everything JSON has"),
        pytest.param({"a": "x" * (16 * 1024 - 8)}, None, id="16 KiB"),
        pytest.param({"a": "x" * (16 * 1024 - 7)}, "bytes", id="a byte more"),
        pytest.param({"a": "é" * 9000}, "bytes", id="bytes, not characters"),
        pytest.param({"a\0": 1}, "U+0000", id="nul in a key"),
        pytest.param({"a": [{"b": "\0"}]}, "U+0000", id="nul deep in a value"),
        pytest.param({"a": "\ud83d"}, "surrogate", id="half a pair"),
        pytest.param({"a": 2**63}, "64 bits", id="a number too large"),
        pytest.param({"a": float("inf")}, "finite", id="no number of JSON"),
    ],
)
def test_metadata_is_what_the_database_can_keep(metadata: dict[str, object], problem: str | None) -> None:
    errors = NewChat(UserId("ann"), metadata=metadata).problems()

    assert [error.field for error in errors] == ([] if problem is None else ["metadata"])
    assert problem is None or problem in errors[0].message


def test_metadata_nested_deeper_than_any_stack_is_refused() -> None:
    nested: object = "x"
    for _ in range(100_000):
        nested = [nested]

    assert json_problem({"a": nested}, limit_bytes=16 * 1024) == "must not be nested deeper than 32"


class Unread(list[int]):
    def __iter__(self) -> NoReturn:
        raise AssertionError("this is longer than anything that could be kept")


def test_metadata_of_more_parts_than_bytes_is_refused_without_a_look_at_them() -> None:
    assert json_problem({"a": Unread([1] * 20_000)}, limit_bytes=16 * 1024) == "must have at most 16384 bytes"


@pytest.mark.parametrize(
    ("text", "is_fine"), [("", False), ("a", True), ("abc", True), ("abcd", False), ("a\0", False), ("\udfff", False)]
)
def test_text_is_what_the_database_can_keep(text: str, *, is_fine: bool) -> None:
    assert (text_problem(text, at_least=1, at_most=3) is None) is is_fine


@given(st.text(st.characters()))
def test_storable_text_is_always_storable(text: str) -> None:
    storable = storable_text(text)

    assert text_problem(storable, at_least=0, at_most=len(text)) is None
    assert len(storable) == len(text)


def test_a_change_is_checked_only_where_it_changes() -> None:
    assert ChatChange().problems() == []
    assert ChatChange(title=None, metadata={}).problems() == []
    assert [error.field for error in ChatChange(title="\0", metadata={"\0": 1}).problems()] == ["title", "metadata"]
