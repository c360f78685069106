"""Pure path rules: what a path may look like, which row it takes, what path the upstream sees.

Facts
- We decide on the raw bytes and send the raw bytes (promise P9); what two parsers could read differently is refused.
- `%2e`, `..;x` and overlong UTF-8 are dot segments to some upstream (RFC 3986 §5.2.4 knows only the plain ones).
- Upstreams decode a path before they route it, and some drop the parameters of its segments (`/admin;x`, RFC 3986
  §3.3), so a path that would take another row when read like that is ambiguous.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote_to_bytes

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")

_PUNCTUATION = "_~-@:,=+!$'()*&"
# Nearly every request: segments of plain characters that do not start with a dot.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~\-@:,=+!$'()*&][A-Za-z0-9_~\-@:,=+!$'()*&.]*)+/?|/")
_ALLOWED = re.compile(rb"/[A-Za-z0-9_~\-@:,=+!$'()*&.;%/]*")
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e]*")  # printable ASCII but "#"
_ENCODED_SLASH = re.compile(rb"%2[Ff]")
_PARAMETERS = re.compile(rb";[^/]*")

_RAW_FLAWS = (
    (re.compile(rb"/[/;]"), "it holds an empty segment"),
    (re.compile(rb"%(?![0-9A-Fa-f]{2})"), "it holds a percent sign that encodes nothing"),
    (re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff])"), "it holds an encoded control byte"),
    (re.compile(rb"%5[Cc]"), "it holds an encoded backslash"),
)
_DECODED_FLAWS = (
    (re.compile(rb"/\.\.?(?:[/;]|\Z)"), "it holds a dot segment"),
    (re.compile(rb"/[/;]"), "it holds an empty segment"),
)


def path_flaw(path: bytes, *, encoded_slashes: bool = False) -> str | None:
    """Tell what is wrong with a raw path, in words for the client; None when nothing is."""
    if _PLAIN.fullmatch(path):
        return None
    if not _ALLOWED.fullmatch(path):
        return "it must start with a slash and hold no backslash, fragment, control or non-ASCII byte"
    if not encoded_slashes and _ENCODED_SLASH.search(path):
        return "it holds an encoded slash"
    return _first_flaw(_RAW_FLAWS, path) or _decoded_flaw(path)


def _decoded_flaw(path: bytes) -> str | None:
    decoded = unquote_to_bytes(path)
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return "its escapes are not UTF-8"
    if decoded.endswith(b"/") and not path.endswith(b"/"):
        return "it ends with an encoded slash"
    return _first_flaw(_DECODED_FLAWS, decoded)


def _first_flaw(flaws: Sequence[tuple[re.Pattern[bytes], str]], path: bytes) -> str | None:
    return next((flaw for pattern, flaw in flaws if pattern.search(path)), None)


def query_flaw(query: bytes) -> str | None:
    if _QUERY.fullmatch(query):
        return None
    return "the query holds a fragment, a control or a non-ASCII byte"


def as_understood(path: bytes) -> bytes:
    """Tell what an upstream may take a path for: without the parameters of its segments, and decoded."""
    if b"%" not in path and b";" not in path:
        return path
    return unquote_to_bytes(_PARAMETERS.sub(b"", path))


def as_written(path: str) -> str:
    """Write a path in the one spelling a row may have: nothing encoded without need, escapes in capitals."""
    return quote(unquote_to_bytes(path), safe=f"/.{_PUNCTUATION}")


@dataclass(frozen=True, slots=True)
class RowIndex[R]:
    """What rows say, by path.

    Cost: one dictionary look-up a segment, of no more segments than the longest prefix has: for 5 rows as for 5,000,
    and for a path of 4,000 slashes as for a short one.
    """

    exact: Mapping[bytes, R]
    prefixes: Mapping[bytes, R]
    longest_prefix_bytes: int

    @classmethod
    def build(cls, exact: Mapping[bytes, R], prefixes: Mapping[bytes, R]) -> Self:
        return cls(exact, prefixes, max(map(len, prefixes), default=0))

    def find(self, path: bytes) -> R | None:
        """Find the rows of a path: the exact one, else the longest prefix that ends on a segment boundary."""
        return self.exact.get(path) or self.below(path)

    def below(self, path: bytes) -> R | None:
        """Find the longest prefix of a path that ends on a segment boundary."""
        end = len(path)
        if end > self.longest_prefix_bytes:
            end = path.rfind(b"/", 0, self.longest_prefix_bytes + 1)
        while end > 0:
            rows = self.prefixes.get(path[:end])
            if rows is not None:
                return rows
            end = path.rfind(b"/", 0, end)
        return self.prefixes.get(b"/")

    def as_understood(self) -> "RowIndex[R]":
        """Make the index of the same rows for paths as an upstream may understand them."""
        return RowIndex.build(
            {as_understood(path): rows for path, rows in self.exact.items()},
            {as_understood(path): rows for path, rows in self.prefixes.items()},
        )
