"""Pure path rules: what a path may look like, which row it takes, what path the upstream sees.

Facts
- We decide on the raw bytes and send the raw bytes (promise P9); what two parsers could read differently is refused.
- `%2e`, `..;x` and overlong UTF-8 are dot segments to some upstream (RFC 3986 §5.2.4 knows only the plain ones).
- Percent-encoded unreserved characters are equivalent to the plain ones (RFC 3986 §6.2.2.2), so a path whose decoded
  form would take another row is ambiguous and refused.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")

# Nearly every request: segments of plain characters that do not start with a dot.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~\-@:,=+!$'()*&][A-Za-z0-9_~\-@:,=+!$'()*&.]*)*/?")
_ALLOWED = re.compile(rb"/[A-Za-z0-9_~\-@:,=+!$'()*&.;%/]*")
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e]*")  # printable ASCII but "#"
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNRESERVED = re.compile(rb"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")


def path_flaw(path: bytes, *, encoded_slashes: bool = False) -> str | None:
    """Tell what is wrong with a raw path, in words for the client; None when nothing is."""
    if path and _PLAIN.fullmatch(path):
        return None
    if not _ALLOWED.fullmatch(path):
        return "it must start with a slash and hold no backslash, fragment, control or non-ASCII byte"
    if b"//" in path:
        return "it holds an empty segment"
    return _escape_flaw(path, encoded_slashes=encoded_slashes) or _dot_flaw(path)


def _escape_flaw(path: bytes, *, encoded_slashes: bool) -> str | None:
    for escape in _ESCAPE.finditer(path):
        if escape[1] is None:
            return "it holds a percent sign that encodes nothing"
        byte = int(escape[1], 16)
        if byte < 0x20 or byte == 0x7F:
            return "it holds an encoded control byte"
        if byte == 0x5C or (byte == 0x2F and not encoded_slashes):
            return "it holds an encoded slash or backslash"
    return None


def _dot_flaw(path: bytes) -> str | None:
    for segment in path.split(b"/"):
        decoded = unquote_to_bytes(segment)
        try:
            decoded.decode()
        except UnicodeDecodeError:
            return "its escapes are not UTF-8"
        if any(part.split(b";", 1)[0] in (b".", b"..") for part in decoded.split(b"/")):
            return "it holds a dot segment"
        if b"//" in decoded or decoded.startswith(b"/") or decoded.endswith(b"/"):
            return "it holds an empty segment"
    return None


def query_flaw(query: bytes) -> str | None:
    if _QUERY.fullmatch(query):
        return None
    return "the query holds a fragment, a control or a non-ASCII byte"


def with_unreserved_decoded(path: bytes) -> bytes:
    """Decode the escapes that never needed to be (RFC 3986 §6.2.2.2)."""
    return _UNRESERVED.sub(lambda escape: unquote_to_bytes(escape[0]), path)


def find_rows[R](exact: Mapping[bytes, Sequence[R]], prefixes: Mapping[bytes, Sequence[R]], path: bytes) -> Sequence[R]:
    """Find the rows of a path: the exact one, else the longest prefix that ends on a segment boundary.

    Cost: one dictionary look-up a segment, whatever the number of rows.
    """
    rows = exact.get(path)
    if rows is not None:
        return rows
    end = len(path)
    while end > 0:
        rows = prefixes.get(path[:end])
        if rows is not None:
            return rows
        end = path.rfind(b"/", 0, end)
    return prefixes.get(b"/", ())


def strip_run(path: bytes, span: tuple[int, int]) -> bytes:
    """Cut a run of whole segments, found when the row was compiled, out of a path."""
    start, end = span
    return path[:start] + path[end:] or b"/"
