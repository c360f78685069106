"""Words about runs: what is told in them is what would be read, and what cannot be told is left to be read."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.events.channel import TOLD_LIMIT_BYTES, parse, telling, word_of
from app.infra.events.encoding import columns_of
from app.infra.events.ports import EventType, NewEvent, RunEvent
from app.kernel.ids import ChatId, RunId

RUN = RunId(UUID("01a2253c-4060-7000-9bfe-4f441a973be5"))
AT = datetime(2026, 11, 29, 3, 4, 5, 678901, UTC)


def told(*events: NewEvent, seq: int = 3) -> str:
    return telling(word_of(RUN, ChatId(7)), seq=seq, at=AT, **columns_of(events))


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_what_is_told_is_what_was_said(texts: list[str]) -> None:
    word = told(*(NewEvent(EventType.TEXT_DELTA, {"text": text, "request": 1}) for text in texts))

    assert " " not in word
    heard = parse(word)
    assert (heard.run_id, heard.chat_id) == (RUN, 7)
    assert [event for event, _ in heard.events()] == [
        RunEvent(3 + place, EventType.TEXT_DELTA, RUN, ChatId(7), AT, {"text": text, "request": 1})
        for place, text in enumerate(texts)
    ]


def test_what_is_much_is_left_to_be_read() -> None:
    word = told(NewEvent(EventType.TEXT_DELTA, {"text": "ü" * (TOLD_LIMIT_BYTES // 2)}))

    assert word == word_of(RUN, ChatId(7))
    assert parse(word).told == ""


@pytest.mark.parametrize(("chat", "word"), [(None, RUN.hex), (ChatId(7), f"{RUN.hex}.7")])
def test_a_word_names_the_run_and_its_chat(chat: ChatId | None, word: str) -> None:
    assert word_of(RUN, chat) == word
    assert (parse(word).run_id, parse(word).chat_id) == (RUN, chat)


def test_a_word_may_say_up_to_where_there_is_something() -> None:
    heard = parse(word_of(RUN, ChatId(7), seq=12))

    assert (heard.run_id, heard.chat_id, heard.first, heard.told) == (RUN, 7, 12, "")


BROKEN = ["3", "x+1+[]", "1+x+[]", "3+1+[", '3+1+[["no_such_type",{}]]', '3+1+[["text_delta"]]']


@pytest.mark.parametrize("told", BROKEN)
def test_what_cannot_be_read_says_so(told: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(f"{RUN.hex}+{told}").events()
