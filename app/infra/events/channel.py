"""How processes tell each other that a run said something: the run's id, its chat's if it has one, and perhaps what.

A word is `RUN` or `RUN.CHAT`; or one of these and `+SEQ+AT+[[TYPE,DATA],...]`, which is what was said, at one moment
and from number SEQ on: whoever follows the run is spared reading it.
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
    """`told` is what was said, as it is written; empty where it is to be read."""

    run_id: RunId
    chat_id: ChatId | None
    told: str = ""

    def events(self) -> Sequence[tuple[RunEvent, int]]:
        """Read what was told: each event with its size in bytes, or a little more. Errors: ValueError."""
        seq, at, said = self.told.split("+", 2)
        first, moment, size_bytes = int(seq), EPOCH + timedelta(microseconds=int(at)), len(said.encode())
        return [
            (RunEvent(first + place, EventType(type_), self.run_id, self.chat_id, moment, data), size_bytes)
            for place, (type_, data) in enumerate(json.loads(said))
        ]


def word_of(run_id: RunId, chat_id: ChatId | None) -> str:
    return run_id.hex if chat_id is None else f"{run_id.hex}.{chat_id}"


def telling(word: str, *, seq: int, at: datetime, types: Sequence[str], documents: Sequence[str]) -> str:
    """Put what was said behind a word, where it is little; `documents` are JSON without spaces around its signs."""
    said = ",".join(f'["{type_}",{document}]' for type_, document in zip(types, documents, strict=True))
    if len(said.encode()) > TOLD_LIMIT_BYTES:
        return word
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return f"{word}+{seq}+{micros}+[{said}]".replace(" ", "\\u0020")  # words have no space; JSON has it in texts alone


def parse(word: str) -> Word:
    """Errors: ValueError."""
    name, _, told = word.partition("+")
    run, _, chat = name.partition(".")
    return Word(RunId(UUID(run)), ChatId(int(chat)) if chat else None, told)
