"""A TOML file that is mostly one array of tables, cut into their texts, so that one met before is not read again.

Facts (TOML 1.0)
- Behind a line `[[name]]` follows one element, up to the next header that is none of its own.
- A line like that stands elsewhere only within a text of several lines, between `'''` or `\"\"\"`; in an array it is no
  value, so that the file as a whole is none.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_TEXT_OF_LINES = re.compile(r"'''|\"\"\"")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `texts` stand beside the elements: by which text one is known, None where it is by none."""

    content: dict[str, Any]  # Any: TOML's values, which nobody has checked yet
    texts: Sequence[str | None] = ()


@dataclass(slots=True)
class KnownElements:
    """What was made of the elements of the file that was read last, by their text."""

    by_text: Mapping[str, Any] = field(default_factory=dict)  # Any: whatever its user makes of an element

    def remember(self, made: Sequence[object], texts: Sequence[str | None]) -> None:
        self.by_text = {text: one for text, one in zip(texts, made, strict=True) if text is not None}


def read_elements(text: str, name: str, known: Mapping[str, Any]) -> Document:
    """Parse a file whose elements of the array `name` are taken from `known` where their text is there.

    Errors: tomllib.TOMLDecodeError.
    Cost: 20 us for an element that is not known, else one look-up. Where elements hold texts of several lines, the file
    is read as a whole.
    """
    return _read_parts(text, name, known) or _read_whole(text, name)


def _read_whole(text: str, name: str) -> Document:
    content = tomllib.loads(text)
    elements = content.get(name)
    return Document(content, [None] * len(elements) if isinstance(elements, list) else ())


def _read_parts(text: str, name: str, known: Mapping[str, Any]) -> Document | None:
    """Parse what is not known; None where that does not come out even, or not at all: the whole tells why."""
    first, *parts = re.split(rf"^(?=\[\[{re.escape(name)}\]\][ \t]*(?:#.*)?\r?$)", text, flags=re.MULTILINE)
    if _TEXT_OF_LINES.search(text, len(first)):
        return None
    fresh = [part for part in parts if part not in known]
    try:
        content = tomllib.loads(first + "".join(fresh))
    except tomllib.TOMLDecodeError:
        return None
    # with nothing fresh, the name must not be there in another way: nothing could be added to that
    if not parts or (name in content) != bool(fresh) or len(content.get(name, ())) != len(fresh):
        return None
    in_order = iter(content.get(name, ()))
    content[name] = [known[part] if part in known else next(in_order) for part in parts]
    # behind another header stands what is no element's; a line of an array may look like one, and is read each time
    other_header = re.compile(rf"\n[ \t]*\[(?!\[?{re.escape(name)}\.)")
    return Document(content, [part if part in known or not other_header.search(part) else None for part in parts])
