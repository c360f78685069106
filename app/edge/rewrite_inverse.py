"""Undo a `rewrite` whose regular expression says what stood there before: plain text and groups, nothing else.

What comes out is a guess for `entrances.py`, which checks it against the registry; other rewrites have no inverse.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MATCH = re.compile(
    r"\\(?P<escaped>[^A-Za-z0-9])"
    r"|\((?:\?P(?P<name><\w+>))?(?!\?)(?P<inner>(?:\\.|\[[^\]]*\]|[^()\\\[])*)\)"
    r"|(?P<plain>[^\\()\[\]{}*+?|^$])"
)
_TO = re.compile(r"\\g<(?P<name>\w+)>|\\(?P<number>[1-9][0-9]?)|(?P<plain>[^\\])")


@dataclass(frozen=True, slots=True)
class _Group:
    """A part of the path that the rewrite keeps; `inner` is what it may be."""

    number: int
    name: str
    inner: str


@dataclass(frozen=True, slots=True)
class Inverse:
    """`made` matches what the rewrite makes; `before` is what stood there: text, or the number of a group."""

    made: re.Pattern[str]
    before: tuple[str | int, ...]

    def undo(self, path: str) -> str | None:
        found = self.made.fullmatch(path)
        if found is None:
            return None
        return "".join(part if isinstance(part, str) else found[f"g{part}"] for part in self.before)


def invert(match: str, to: str) -> Inverse | None:
    """Make the inverse of a rewrite; None where what it takes cannot be told from what it makes."""
    parts = list(_parts(match.removeprefix("^").removesuffix("$")))
    groups = [part for part in parts if isinstance(part, _Group)]
    made = _made(to, groups)
    if None in parts or made is None or any(f"(?P<g{group.number}>" not in made for group in groups):
        return None
    before = tuple(part.number if isinstance(part, _Group) else part or "" for part in parts)
    return Inverse(re.compile(made), before)


def _parts(match: str) -> Iterator[str | _Group | None]:
    """Yield the text and the groups of a regular expression, and None, at last, for anything else."""
    at = number = 0
    while at < len(match):
        found = _MATCH.match(match, at)
        if found is None:
            yield None
            return
        at = found.end()
        if found["inner"] is None:
            yield found["escaped"] or found["plain"]
        else:
            number += 1
            yield _Group(number, (found["name"] or "").strip("<>"), found["inner"])


def _made(to: str, groups: list[_Group]) -> str | None:
    """Write the regular expression of what a replacement makes; None where it names a group that is not there."""
    called = {str(group.number): group for group in groups} | {group.name: group for group in groups if group.name}
    made = ""
    for found in _TO.finditer(to):
        if found["plain"]:
            made += re.escape(found["plain"])
            continue
        group = called.get(found["name"] or found["number"])
        if group is None:
            return None
        name = f"g{group.number}"
        made += f"(?P={name})" if f"(?P<{name}>" in made else f"(?P<{name}>{group.inner})"
    return made
