"""Where an answer comes from: the links it names, and the tools that were called for it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from app.infra.events.ports import EventType, RunEvent
from app.kernel.values import Json

MAX_SOURCES = 100
"""of one finding, and twice as many of a report"""
URL_LIMIT_CHARS = 2000
TITLE_LIMIT_CHARS = 200
MAX_DEPTH = 8

_URL = r"https?://[^\s<>()\[\]{}\"'`|\\^]{1,2000}"
_LINK = re.compile(rf"\[([^\[\]\n]{{1,{TITLE_LIMIT_CHARS}}})\]\(({_URL})\)|({_URL})", re.IGNORECASE)

CALLS = (EventType.TOOL_CALL_START, EventType.TOOL_CALL_COMPLETE)

type Source = Mapping[str, Json]


def sources_of(text: str, calls: Sequence[RunEvent]) -> Sequence[Source]:
    """Collect them, each once; a tool that was called with an address stands for that address."""
    found: dict[str, dict[str, Json]] = {}
    for title, url in (*_links(text), *(("", url) for url in _called_urls(calls))):
        known = found.setdefault(url, {"url": url, "title": "", "tool": None})
        known["title"] = known["title"] or title
    for tool in _called_tools(calls):
        found.setdefault(f"tool {tool}", {"url": None, "title": tool, "tool": tool})
    return list(found.values())[:MAX_SOURCES]


def joined(parts: Sequence[Sequence[Source]]) -> Sequence[dict[str, Json]]:
    """Join the sources of several findings; `questions` tells in which of them each was named, from 1."""
    found: dict[Json, dict[str, Json]] = {}
    for number, sources in enumerate(parts, start=1):
        for source in sources:
            key = source.get("url") or source.get("tool")
            known = found.setdefault(key, {**source, "questions": []})
            known["title"] = known["title"] or source.get("title")
            numbers = known["questions"]
            if isinstance(numbers, list) and number not in numbers:
                numbers.append(number)
    return list(found.values())[: 2 * MAX_SOURCES]


def _links(text: str) -> Iterator[tuple[str, str]]:
    for found in _LINK.finditer(text):
        title, linked, bare = found.groups()
        yield (title or "", (linked or bare).rstrip(".,;:!?*_"))


def _called_urls(calls: Sequence[RunEvent]) -> Iterator[str]:
    failed = {call.data.get("tool_call_id") for call in calls if call.data.get("is_error")}
    for call in calls:
        if call.type is EventType.TOOL_CALL_START and call.data.get("tool_call_id") not in failed:
            for text in _texts(call.data.get("arguments"), MAX_DEPTH):
                yield from (url for _, url in _links(text[:URL_LIMIT_CHARS]))


def _called_tools(calls: Sequence[RunEvent]) -> Iterator[str]:
    for call in calls:
        tool = call.data.get("tool")
        if call.type is EventType.TOOL_CALL_COMPLETE and not call.data.get("is_error") and isinstance(tool, str):
            yield tool[:TITLE_LIMIT_CHARS]


def _texts(value: Json, depth: int) -> Iterator[str]:
    """Give every text in a document; not in what is nested too deep."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one, depth - 1)
