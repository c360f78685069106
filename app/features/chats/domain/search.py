"""What is found in a person's chats, and what is shown of it. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.features.chats.domain.chat import Chat
from app.features.chats.domain.message import MessageRole
from app.kernel.errors import FieldError
from app.kernel.ids import MessageId
from app.kernel.storable import text_problem

QUERY_LIMIT_CHARS = 200
MATCHES_LIMIT = 3
"""messages shown of each chat"""
MAX_FOUND = 50
"""chats on a page"""
MAX_OFFSET = 1_000_000
SNIPPET_CHARS = 200
BEFORE_CHARS = 60
"""of a snippet, before the word that was found"""


@dataclass(frozen=True, slots=True)
class Match:
    message_id: MessageId
    role: MessageRole
    snippet: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FoundChat:
    """`matches` are the newest, the newest first; none where only the title has the words."""

    chat: Chat
    matches: Sequence[Match] = ()


def query_problems(words: str) -> list[FieldError]:
    problem = text_problem(words, at_least=1, at_most=QUERY_LIMIT_CHARS)
    return [FieldError("q", problem)] if problem else []


def snippet_of(text: str, words: Sequence[str], *, is_begun: bool = True, is_ended: bool = True) -> str:
    """Cut out what stands around the first of the words, white space folded; "…" stands for what is left out.

    `text` may be a part: of one that is not begun, or not ended, there is more before it, or behind it.
    """
    found = re.search(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, words))})", text, re.IGNORECASE) if words else None
    at = found.start() if found else 0
    is_near = at <= BEFORE_CHARS and is_begun
    start = 0 if is_near else _start_of_word(text, max(at - BEFORE_CHARS, 0), at)
    end = start + SNIPPET_CHARS
    shown = text[start:] if len(text) <= end else text[start : _end_of_word(text, max(at, start), end)]
    before = "" if start == 0 and is_begun else "…"
    behind = "" if start + len(shown) >= len(text) and is_ended else "…"
    return f"{before}{' '.join(shown.split())}{behind}"


def _start_of_word(text: str, start: int, at: int) -> int:
    """Give where the first whole word behind `start` begins, at the latest where the found one does."""
    white = re.compile(r"\s").search(text, start, at)
    return white.end() if white else start


def _end_of_word(text: str, at: int, end: int) -> int:
    """Give where the last whole word before `end` ends; in the midst of one that is longer than all of it."""
    cut = max(text.rfind(white, at + 1, end + 1) for white in " \n\t")
    return cut if cut > 0 else end
