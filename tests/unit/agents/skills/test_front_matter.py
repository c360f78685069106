"""The front matter of skills: what is read, and what is told of what cannot be."""

import pytest

from app.agents.skills.front_matter import FrontMatterBroken, Value, read_front_matter


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a: b", {"a": "b"}),
        ("a: 'b: c'", {"a": "b: c"}),
        ('a: "b"', {"a": "b"}),
        ("a: b # c", {"a": "b # c"}),
        ("# a: b", {}),
        ("a:", {"a": ""}),
        ("a: http://x.test/y", {"a": "http://x.test/y"}),
        ("a: [b, 'c']", {"a": ("b", "c")}),
        ("a: []", {"a": ()}),
        ("a:\n  - b\n  - c", {"a": ("b", "c")}),
        ("a:\n- b\n- c", {"a": ("b", "c")}),
        ("a: b\n  c\nd: e", {"a": "b c", "d": "e"}),
        ("a: >\n  b\n  c", {"a": "b c"}),
        ("a: |-\n  b", {"a": "b"}),
    ],
)
def test_what_skills_use_of_yaml_is_read(written: str, read: dict[str, Value]) -> None:
    found = read_front_matter(f"---\n{written}\n---\n\nText.\n")

    assert found.values == read
    assert found.body == "Text."


@pytest.mark.parametrize(
    "text", ["\ufeff---\na: b\n---\nText.", "---\r\na: b\r\n---\r\nText.\r\n", "--- \na: b\n--- \nText."]
)
def test_editors_may_write_it_in_their_ways(text: str) -> None:
    found = read_front_matter(text)

    assert (found.values, found.body) == ({"a": "b"}, "Text.")


def test_a_line_in_the_text_ends_nothing() -> None:
    assert read_front_matter("---\na: b\n---\nOne\n---\nTwo").body == "One\n---\nTwo"


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("Text.", 1, "must begin with a line of ---"),
        ("", 1, "must begin with a line of ---"),
        ("---\na: b\n", 2, "has no end"),
        ("---\nb\n---", 2, "`key: value`"),
        ("---\na: b\na: c\n---", 3, "a stands here twice"),
        ("---\n  b\n---", 2, "belongs to no key"),
        ("---\na: b\n  - c\n---", 3, "a text and a list"),
        ("---\na:\n  - b\n  c\n---", 4, "a list and a text"),
        ("---\na: [b\n---", 2, "ends on the same line"),
        ("---\na: 'b\n---", 2, "quote is not closed"),
        ("---\na: {b: c}\n---", 2, "put the value in quotes"),
        ("---\na: !!python/object b\n---", 2, "put the value in quotes"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(FrontMatterBroken, match=word) as broken:
        read_front_matter(text)

    assert broken.value.line == line
