import pytest

from app.features.chats.domain.search import SNIPPET_CHARS, query_problems, snippet_of

AROUND = " ".join(f"word{number}" for number in range(100))


@pytest.mark.parametrize(
    ("text", "words", "snippet"),
    [
        pytest.param("a plan", ["plan"], "a plan", id="short"),
        pytest.param("a\n\n plan\t now ", ["plan"], "a plan now", id="white space is folded"),
        pytest.param("nothing of it", ["plan"], "nothing of it", id="no hit: the beginning"),
        pytest.param("nothing of it", [], "nothing of it", id="no words"),
    ],
)
def test_a_short_text_is_shown_whole(text: str, words: list[str], snippet: str) -> None:
    assert snippet_of(text, words) == snippet


def test_a_long_text_is_cut_between_words_around_the_first_hit() -> None:
    snippet = snippet_of(f"{AROUND} explanation The PLANNING is done {AROUND}", ["plan"])

    assert snippet.startswith("…word9")
    assert snippet.endswith("…")
    assert " explanation The PLANNING is done word0 word1 " in snippet
    assert all(word in f"{AROUND} explanation The PLANNING is done" for word in snippet.strip("…").split())


def test_any_of_the_words_may_be_the_first() -> None:
    assert "word99 the trip" in snippet_of(f"{AROUND} the trip {AROUND} plan", ["plan", "trip"])


@pytest.mark.parametrize(
    "text",
    [
        "x" * 5000,
        "plan" + "x" * 5000,
        f"{'y' * 5000} plan",
        f"{'y ' * 5000}plan{'z' * 5000}",
        "\U0001f600" * 5000,
        "plan",
    ],
)
def test_it_is_bounded_whatever_the_text(text: str) -> None:
    assert 0 < len(snippet_of(text, ["plan"])) <= SNIPPET_CHARS + 2


def test_a_part_says_that_there_is_more_and_may_begin_in_the_midst_of_a_word() -> None:
    assert snippet_of("a plan b", ["plan"], is_begun=False, is_ended=False) == "…plan b…"


@pytest.mark.parametrize("words", ["a.c", "(", "[", "\\", "*", "a|b", "^$"])
def test_words_stand_for_themselves(words: str) -> None:
    assert snippet_of("abc", [words]) == "abc"


@pytest.mark.parametrize("words", ["", "x" * 201, "a\0b", "\ud800"])
def test_what_cannot_be_asked_for_is_said_by_its_field(words: str) -> None:
    assert [problem.field for problem in query_problems(words)] == ["q"]
