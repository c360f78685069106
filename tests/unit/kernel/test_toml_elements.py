import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.toml_elements import Document, read_elements

ONE, TWO = '[[row]]\npath = "/1"\n', '[[row]]\npath = "/2" # two\nmore = [\n  1,\n]\n'


def remembered(document: Document) -> dict[str, Any]:
    if not document.texts:
        return {}
    pairs = zip(document.texts, document.content["row"], strict=True)
    return {text: element for text, element in pairs if text is not None}


def read(text: str, known: dict[str, Any]) -> object:
    """What is said, or that it cannot be read."""
    try:
        return read_elements(text, "row", known).content
    except tomllib.TOMLDecodeError as error:
        return str(error)


def plain(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return str(error)


def test_an_element_that_is_known_is_taken_as_it_is() -> None:
    known = remembered(read_elements(ONE + TWO, "row", {}))
    marked = {text: object() for text in known}

    document = read_elements('a = 1\n[[row]]\npath = "/0"\n' + TWO + ONE, "row", marked)

    assert set(known) == {ONE, TWO}
    assert document.content["a"] == 1
    assert document.content["row"][0] == {"path": "/0"}
    assert document.content["row"][1:] == [marked[TWO], marked[ONE]]


NEVER_KNOWN = {
    "another table behind": ONE + "[other]\na = 1\n",
    "an array of others behind": ONE + "[[other]]\na = 1\n",
    "an element spelled otherwise behind": ONE + "[[ row ]]\na = 1\n",
    "a text of lines": '[[row]]\ntext = """\n[[row]]\n"""\n',
    "a literal text of lines": "[[row]]\ntext = '''\n[[row]]\n'''\n",
    "an element written inline": 'row = [{ path = "/1" }]\n',
    "a table of that name": "[row]\na = 1\n",
    "no array": "row = 1\n",
    "nothing": "",
}


@pytest.mark.parametrize("text", NEVER_KNOWN.values(), ids=NEVER_KNOWN)
def test_what_says_more_than_an_element_is_read_each_time(text: str) -> None:
    document = read_elements(text, "row", {})

    assert document.content == tomllib.loads(text)
    assert set(document.texts) <= {None}


@pytest.mark.parametrize(("line", "texts"), [("PEM", [ONE]), ("[[row]]", [None])])
def test_texts_of_several_lines_may_stand_before_the_elements(line: str, texts: list[str | None]) -> None:
    document = read_elements(f"key = '''\n{line}\n'''\n{ONE}", "row", {})

    assert document.content == {"key": f"{line}\n", "row": [{"path": "/1"}]}
    assert document.texts == texts


def test_what_belongs_to_an_element_is_known_with_it() -> None:
    text = ONE + "[row.inner]\na = 1\n  [[row.list]]\n  b = 2\n"

    assert remembered(read_elements(text, "row", {})) == {text: tomllib.loads(text)["row"][0]}


PIECES = (
    *(ONE, TWO, ONE.replace("\n", "\r\n"), "[[row]]\n", "[[row]] # c\n", "[[row]]\t\n", " [[row]]\n", "[[ row ]]\n"),
    *('[["row"]]\n', "[row.x]\n", "[[row.y]]\n", "[other]\n", "[[others]]\n", "[row]\n", "row = []\n", "row = 1\n"),
    *(
        "a = 1\n",
        "b = '[[row]]'\n",
        'c = """\n',
        '"""\n',
        "d = '''\n",
        "'''\n",
        "e = [\n",
        "]\n",
        "[[row]]\n]\n",
        "# '''\n",
    ),
    *("f = { g = 1 }\n", "\n", "\r", "é = 1\n", '"é" = 1\n', "[[row]", "[[row]]"),
)


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), min_size=1, max_size=5))
def test_whatever_was_read_before_a_file_says_what_it_says(texts: list[str]) -> None:
    known: dict[str, Any] = {}
    for text in texts:
        assert read(text, known) == plain(text)
        if isinstance(plain(text), dict):
            known = remembered(read_elements(text, "row", known))
