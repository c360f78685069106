"""`multipart/form-data`, read out of a whole body: a pure codec for small forms, whatever somebody sends.

Facts
- Parts stand between lines of `--BOUNDARY`; the last such line ends with `--`, and may have blanks behind it. What is
  before the first and behind the last is nobody's (RFC 2046 §5.1.1). A boundary has 1 to 70 characters.
- A part is its head, an empty line, its content; the line break before the next boundary is the boundary's.
- Names stand in `Content-Disposition`, in UTF-8 as they are (RFC 7578 §4.2, §5.1); browsers write a quote as `%22` and
  ends of lines as `%0D` and `%0A` (WHATWG HTML, "Multipart form data").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.infra.wire.disposition import parameters_of

HEAD_LIMIT_BYTES = 8 * 1024
PARTS_LIMIT = 8
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_WRITTEN_OUT = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))


class MultipartBroken(ValueError):
    """The body is no form; says in words what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Part:
    """`file_name` is None for a field that is no file."""

    name: str
    content: bytes = field(repr=False)
    file_name: str | None = None
    content_type: str = ""


def boundary_of(content_type: str) -> bytes:
    """Errors: MultipartBroken."""
    boundary = parameters_of(content_type).get("boundary", "").encode("latin-1", "replace")
    if not _BOUNDARY.fullmatch(boundary):
        raise MultipartBroken("Its Content-Type names no boundary that can be used.")
    return boundary


def parts_of(body: bytes, boundary: bytes) -> list[Part]:
    """Read every part. Cost: linear in the body, and a copy of the contents. Errors: MultipartBroken."""
    parts: list[Part] = []
    for head, content in _pieces(body, b"\r\n--" + boundary):
        if len(parts) == PARTS_LIMIT:
            raise MultipartBroken(f"It has more than {PARTS_LIMIT} parts.")
        parts.append(_part(head, content))
    return parts


def _pieces(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the head and the content of each part."""
    first = delimiter.removeprefix(b"\r\n")  # nothing need stand before it
    place = len(first) if body.startswith(first) else _next(body, delimiter, 0)
    while not body.startswith(b"--", place):
        line_end = _line_end(body, place)
        head_end = body.find(b"\r\n\r\n", line_end, line_end + HEAD_LIMIT_BYTES)
        if head_end < 0:
            raise MultipartBroken("A part has no head, or one that is too long.")
        start = head_end + 4
        place = _next(body, delimiter, start)
        yield body[line_end:head_end], body[start : place - len(delimiter)]


def _next(body: bytes, delimiter: bytes, start: int) -> int:
    """Find where the next line of the boundary goes on behind it; one that only begins like it is content."""
    while (found := body.find(delimiter, start)) >= 0:
        place = found + len(delimiter)
        if body[place : place + 1] in (b"-", b"\r", b" ", b"\t"):
            return place
        start = place
    raise MultipartBroken("It breaks off in the midst of a part.")


def _line_end(body: bytes, place: int) -> int:
    """Give the place of the line break behind a boundary."""
    while body[place : place + 1] in (b" ", b"\t"):
        place += 1
    if not body.startswith(b"\r\n", place):
        raise MultipartBroken("Something stands behind a boundary.")
    return place


def _part(head: bytes, content: bytes) -> Part:
    fields = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    said = parameters_of(fields.get("content-disposition", ""))
    if "name" not in said:
        raise MultipartBroken("A part has no name.")
    file_name = said.get("filename")
    for written, char in _WRITTEN_OUT:
        file_name = None if file_name is None else file_name.replace(written, char)
    return Part(said["name"], content, file_name, fields.get("content-type", ""))
