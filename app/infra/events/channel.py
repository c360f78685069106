"""How processes tell each other that a run said something: the run's id, its chat's if it has one, and perhaps what.

A word is `RUN` or `RUN.CHAT`; or one of these and `+SEQ`, the number of what was said last: whoever knows that already
is spared looking; or one and `+SEQ+AT+[[TYPE,DATA],...]`, which is what was said, at one moment and from number SEQ on:
whoever follows the run is spared reading it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.infra.events.ports import EventType, RunEvent
from app.kernel.ids import ChatId, RunId

EVENTS = "portico_run_events"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOLD_LIMIT_BYTES = 1500
"""what is longer is read by those who follow: every process hears every word"""


@dataclass(frozen=True, slots=True)
class Word:
    """`first` is the number of what was said, or of the first of it that is `told`, as it is written; 0 for any."""

    run_id: RunId
    chat_id: ChatId | None
    first: int = 0
    told: str = ""

    def events(self) -> Sequence[tuple[RunEvent, int]]:
        """Read what was told: each event with its size in bytes, or a little more. Errors: ValueError."""
        at, said = self.told.split("+", 1)
        moment, size_bytes = EPOCH + timedelta(microseconds=int(at)), len(said.encode())
        return [
            (RunEvent(self.first + place, EventType(type_), self.run_id, self.chat_id, moment, data), size_bytes)
            for place, (type_, data) in enumerate(json.loads(said))
        ]


def word_of(run_id: RunId, chat_id: ChatId | None, *, seq: int = 0) -> str:
    word = run_id.hex if chat_id is None else f"{run_id.hex}.{chat_id}"
    return f"{word}+{seq}" if seq else word


def telling(word: str, *, seq: int, at: datetime, types: Sequence[str], documents: Sequence[str]) -> str:
    """Put what was said behind a word, where it is little; `documents` are JSON without spaces around its signs."""
    said = ",".join(f'["{type_}",{document}]' for type_, document in zip(types, documents, strict=True))
    if len(said.encode()) > TOLD_LIMIT_BYTES:
        return word
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return f"{word}+{seq}+{micros}+[{said}]".replace(" ", "\\u0020")  # words have no space; JSON has it in texts alone


def parse(word: str) -> Word:
    """Errors: ValueError."""
    name, _, said = word.partition("+")
    run, _, chat = name.partition(".")
    first, _, told = said.partition("+")
    return Word(RunId(UUID(run)), ChatId(int(chat)) if chat else None, int(first or 0), told)
