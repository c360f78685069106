"""What a chat is called that nobody gave a title: its first words, or what a model makes of its first turn. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from app.features.runs.domain.agent_work import OrderUnreadable, authority_of
from app.infra.durable.ports import Job
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.ids import ChatId, MessageId, RunId
from app.kernel.storable import storable_text
from app.kernel.values import Json

KIND = "title"
TRIGGER = "title"
FIRST_WORDS_CHARS = 60
MADE_CHARS = 100
MADE_WORDS = 8
EXCERPT_CHARS = 2000
"""of the question, and of the answer, that a model is shown"""

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")
_AROUND = " \"'`*#_.:\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a"
_LABEL = re.compile(r"^title\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TitleOrder:
    """What the run is told that makes a title: of which chat, by which turn, in whose name. Never a word of either."""

    chat_id: ChatId
    question: MessageId
    turn: RunId
    authority: Authority
    request_id: str = ""
    branch: int = 0

    @classmethod
    def of(cls, job: Job) -> Self:
        """Errors: OrderUnreadable, for what this version has not written."""
        match job.input:
            case {
                "chat_id": int(chat_id),
                "question_id": int(question),
                "turn": str(turn),
                "request_id": str(request_id),
                "branch": int(branch),
            }:
                pass
            case _:
                raise OrderUnreadable
        try:
            run_id = RunId(UUID(turn))
        except ValueError as error:
            raise OrderUnreadable from error
        return cls(ChatId(chat_id), MessageId(question), run_id, authority_of(job), request_id, branch)

    def as_input(self) -> Mapping[str, Json]:
        return {
            "chat_id": self.chat_id,
            "question_id": self.question,
            "turn": str(self.turn),
            INPUT_KEY: self.authority.as_json(),
            "request_id": self.request_id,
            "branch": self.branch,
        }


def first_words(text: str) -> str | None:
    """Give the first line that says something, cut behind a word at about 60 characters; None where none does."""
    return _cut(_first_line(text), FIRST_WORDS_CHARS)


def title_of(said: str) -> str | None:
    """Give the title in what a model said: one line of a few words, without the quotes and marks around it."""
    line = _LABEL.sub("", _first_line(said).strip(_AROUND)).strip(_AROUND)
    return _cut(" ".join(line.split()[:MADE_WORDS]), MADE_CHARS)


def ask_for_title(question: str, answer: str) -> str:
    """Write down the beginning of a conversation for a model that is to name it."""
    return (
        "Name this conversation.\n\n"
        f"<question>\n{question[:EXCERPT_CHARS]}\n</question>\n\n<answer>\n{answer[:EXCERPT_CHARS]}\n</answer>"
    )


def _first_line(text: str) -> str:
    lines = (" ".join(_CONTROL.sub(" ", line).split()) for line in storable_text(text).splitlines())
    return next((line for line in lines if line), "")


def _cut(line: str, limit_chars: int) -> str | None:
    if len(line) <= limit_chars:
        return line or None
    beginning = line[: limit_chars + 1].rpartition(" ")[0].rstrip(" ,;:-")
    return f"{beginning or line[:limit_chars]}…"
