"""Server-sent events, written: bytes a browser's `EventSource` reads back as what was meant.

Facts (WHATWG HTML, "Server-sent events")
- A line ends with CR LF, LF or CR; an event ends with an empty line; `data` of several lines is several fields.
- A field `id` that holds NUL is ignored, so the reader would resume from an earlier event (§9.2.6).
- A line that begins with a colon is a comment: it keeps proxies and readers from taking silence for an end.
- `retry` holds the milliseconds to wait before connecting again; a stream that ends is connected to again.
"""

import re

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = b": \n\n"
_LINE_END = re.compile("\r\n|\n|\r")


def event(data: str, *, id_: str = "", type_: str = "") -> bytes:
    """Write one event.

    Shapes: `id_` and `type_` are single lines without NUL; whatever else they hold is taken out.
    """
    head = (f"id: {_one_line(id_)}\n" if id_ else "") + (f"event: {_one_line(type_)}\n" if type_ else "")
    return (head + "".join(f"data: {line}\n" for line in _LINE_END.split(data)) + "\n").encode("utf-8", "replace")


def comment(text: str, *, retry_ms: int | None = None) -> bytes:
    """Write what readers skip, and, where asked, how long they are to wait before they connect again."""
    retry = "" if retry_ms is None else f"retry: {retry_ms}\n"
    return f"{retry}: {_one_line(text)}\n\n".encode("utf-8", "replace")


def _one_line(text: str) -> str:
    return text.translate({0: None, 10: " ", 13: " "})
