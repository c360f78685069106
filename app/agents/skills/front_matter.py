"""The front matter of a skill's file, read strictly: the small part of YAML that such files use.

    ---
    name: proofread
    description: Finds and mends mistakes in a text.
    tools: [load_skill, recall]
    ---

Facts
- `key: value` on a line of its own; a value may stand in quotes; a list in brackets, or as lines of `- item` below.
- A value may go on in lines that are indented. A `#` begins a comment on a line of its own only.
"""

import re
from dataclasses import dataclass, field

_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?:\s+(.*))?")
_FENCE = "---"

type Value = str | tuple[str, ...]


class FrontMatterBroken(ValueError):
    """`line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


@dataclass(slots=True)
class FrontMatter:
    """`lines` tells where each key stands; `body` is what comes behind."""

    values: dict[str, Value] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    body: str = ""


def read_front_matter(text: str) -> FrontMatter:
    """Errors: FrontMatterBroken."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != _FENCE:
        raise FrontMatterBroken(1, "the file must begin with a line of ---, its front matter, and another ---")
    end = next((at for at, line in enumerate(lines[1:], start=1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise FrontMatterBroken(len(lines), "the front matter has no end: a line of --- is missing")
    found = FrontMatter(body="\n".join(lines[end + 1 :]).strip())
    key = ""
    for number, line in enumerate(lines[1:end], start=2):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t-":
            _go_on(found, key, line, number)
            continue
        match = _KEY.fullmatch(line.rstrip())
        if match is None:
            raise FrontMatterBroken(number, "is not of the form `key: value`")
        key = match[1]
        if key in found.values:
            raise FrontMatterBroken(number, f"{key} stands here twice")
        found.values[key], found.lines[key] = _value((match[2] or "").strip(), number), number
    return found


def _go_on(found: FrontMatter, key: str, line: str, number: int) -> None:
    if not key:
        raise FrontMatterBroken(number, "belongs to no key")
    value, more = found.values[key], line.strip()
    if more.startswith("-"):
        item = _plain(more[1:].strip(), number)
        if value and isinstance(value, str):
            raise FrontMatterBroken(number, f"{key} is a text and a list at once")
        found.values[key] = (*value, item) if isinstance(value, tuple) else (item,)
    elif isinstance(value, tuple):
        raise FrontMatterBroken(number, f"{key} is a list and a text at once")
    else:
        found.values[key] = more if value in {"", ">", "|", ">-", "|-"} else f"{value} {more}"


def _value(text: str, number: int) -> Value:
    if text.startswith("["):
        if not text.endswith("]"):
            raise FrontMatterBroken(number, "a list in brackets ends on the same line")
        return tuple(_plain(item.strip(), number) for item in text[1:-1].split(",") if item.strip())
    return _plain(text, number)


def _plain(text: str, number: int) -> str:
    if text[:1] in {'"', "'"}:
        if len(text) < 2 or text[-1] != text[0]:
            raise FrontMatterBroken(number, "a quote is not closed")
        return text[1:-1]
    if text[:1] in {"{", "&", "*", "!"}:
        raise FrontMatterBroken(number, "is YAML that skills do not use; put the value in quotes")
    return text
