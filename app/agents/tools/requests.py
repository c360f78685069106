"""A tool's arguments as an HTTP request, and an HTTP answer as a tool's result: pure, the same for every HTTP tool.

Rule: an argument fills a place of the template, a field of the query or of the body, and nothing else: it can neither
leave its segment of the path nor name a header.
"""

import json
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any
from urllib.parse import quote

from app.agents.contract import Risk, ToolRefused
from app.agents.front_door import SAFE_METHODS, FleetAnswer

ERROR_LIMIT_CHARS = 2000
VALUE_LIMIT_CHARS = 2000
IDEMPOTENT_METHODS = SAFE_METHODS | {"PUT", "DELETE"}  # RFC 9110 §9.2.2
_MEANINGS: Mapping[int, str] = {
    401: "The caller's login is not accepted",
    403: "The caller may not do this",
    404: "There is no such thing, or not for this caller",
    429: "Too many requests for now",
}
_TEXT = ("text/", "application/json", "application/xml", "application/yaml", "application/javascript")


def risk_of(method: str) -> Risk:
    """Tell by the method what a request may do; what a service does against HTTP's rules, nobody can tell."""
    if method in SAFE_METHODS:
        return Risk.READS
    return Risk.DESTROYS if method == "DELETE" else Risk.WRITES_OUTSIDE


def places_in(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)


def filled(template: str, values: Mapping[str, object]) -> str:
    """Fill a path's places, each with one segment. Errors: ValueError, in words for the model."""
    return "".join(
        literal + (_segment(name, values.get(name)) if name else "")
        for literal, name, _, _ in Formatter().parse(template)
    )


def _segment(name: str, value: object) -> str:
    text = scalar(name, value)
    if text in {"", ".", ".."}:
        raise ValueError(f"{name}: {text!r} cannot stand in a path")
    return quote(text, safe="")


def scalar(name: str, value: object) -> str:
    """Write one value as it stands in a path, a query or a form. Errors: ValueError."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = value
        case int() | float():
            text = str(value)
        case _:
            raise ValueError(f"{name}: give a text or a number")
    if len(text) > VALUE_LIMIT_CHARS or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError(f"{name}: at most {VALUE_LIMIT_CHARS} characters, none of them a control character")
    return text.encode("utf-8", "replace").decode()


def fields(values: Mapping[str, object]) -> dict[str, str | Sequence[str]]:
    """Write a query or a form; what is None is left out. Errors: ValueError."""
    return {name: _field(name, value) for name, value in values.items() if value is not None}


def _field(name: str, value: object) -> str | Sequence[str]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [scalar(name, one) for one in value]
    return scalar(name, value)


def as_told(answer: FleetAnswer) -> object:
    """Give a good answer's content. Errors: ToolRefused for every other, in words the model can act on."""
    if not 200 <= answer.status < 300:
        raise ToolRefused(_refusal(answer))
    if not answer.body:
        return f"Done ({answer.status})."
    return _content(answer)


def _content(answer: FleetAnswer) -> Any:  # Any: what JSON can say
    media = answer.headers.get("content-type", "application/json").lower()
    if not media.startswith(_TEXT) and "+json" not in media and "+xml" not in media:
        raise ToolRefused(f"The answer is no text but {media[:100]}, of {len(answer.body)} bytes.")
    text = answer.body.decode("utf-8", "replace")
    if "json" not in media:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refusal(answer: FleetAnswer) -> str:
    """Say what was wrong: the problem's own words (RFC 9457) where there are some, else how the answer begins."""
    try:
        content = _content(answer) if answer.body else ""
    except ToolRefused:
        content = ""
    if isinstance(content, Mapping):
        known = {
            key: content[key] for key in ("type", "title", "detail", "errors", "message", "error") if key in content
        }
        content = json.dumps(known or content, ensure_ascii=False)
    words = f"{_meaning(answer.status)} (status {answer.status})"
    return f"{words}: {str(content)[:ERROR_LIMIT_CHARS]}" if content else f"{words}."


def _meaning(status: int) -> str:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if status < 400:
        return "The answer leads elsewhere, and is not followed"
    return "The request is refused" if status < 500 else "The service is out of order; try again later"
