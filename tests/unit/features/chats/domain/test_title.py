import pytest

from app.features.chats.domain.chat import TITLE_LIMIT_CHARS, title_problems
from app.features.chats.domain.title import FIRST_WORDS_CHARS, MADE_CHARS, ask_for_title, first_words, title_of

LONG = "How do I plan a trip of three weeks through the mountains with two children?"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        pytest.param("Hello", "Hello", id="short"),
        pytest.param("  \n\t\n  Plan   my\ttrip \n and more", "Plan my trip", id="the first line that says something"),
        pytest.param(LONG, "How do I plan a trip of three weeks through the mountains…", id="cut behind a word"),
        pytest.param("x" * 61, "x" * 60 + "…", id="one long word"),
        pytest.param("x" * 60, "x" * 60, id="exactly so long"),
        pytest.param(f"{'y' * 59}, and so on", "y" * 59 + "…", id="no comma before the dots"),
        pytest.param("a\x07b\x1b[31mc", "a b [31mc", id="control characters"),
        pytest.param("one\x85two", "one", id="another line's end"),
        pytest.param(" \n \x00\x01 \n", "\N{REPLACEMENT CHARACTER}", id="what cannot be kept"),
        pytest.param("   \n ", None, id="nothing"),
        pytest.param("", None, id="empty"),
    ],
)
def test_first_words(text: str, title: str | None) -> None:
    assert first_words(text) == title


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Planning a trip", "Planning a trip"),
        ('"Planning a trip."', "Planning a trip"),
        ("“Reise nach Zürich”", "Reise nach Zürich"),
        ("**Title: Planning a trip**\n\nHere is why: ...", "Planning a trip"),
        ("# Planning", "Planning"),
        ("one two three four five six seven eight nine ten", "one two three four five six seven eight"),
        ("\n\n  \n", None),
        ('""', None),
        ("...", None),
        ("x" * 5000, "x" * MADE_CHARS + "…"),
    ],
)
def test_what_a_model_said_becomes_a_title(said: str, title: str | None) -> None:
    assert title_of(said) == title


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 5000, "a\x00b\ud800", "\U0001f600" * 5000, LONG])
def test_whatever_is_said_the_title_can_be_kept(text: str) -> None:
    for title in (first_words(text), title_of(text)):
        assert title is not None
        assert title_problems(title) == []
        assert len(title) <= max(FIRST_WORDS_CHARS, MADE_CHARS) + 1 <= TITLE_LIMIT_CHARS


def test_a_model_is_shown_the_beginnings_only() -> None:
    assert len(ask_for_title("q" * 100_000, "a" * 100_000)) < 5000
