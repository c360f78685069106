"""Files that were given with a message: as the message keeps them, and which of them a model is shown.

A message keeps what its files were called, so that it can be read, and told to a model, without the files, and when
they are gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from app.agents.messages import Attachment as ShownFile
from app.features.attachments.domain.attachment import MIB, Attachment
from app.kernel.errors import FieldError
from app.kernel.ids import AttachmentId

AT_ONCE = 10
QUESTION_LIMIT_BYTES = 16 * MIB
"""of the files of one question: a provider takes some 30 MB, in which every three bytes are four"""
SHOWN_LIMIT_BYTES = 8 * MIB
"""of a question's files and those before it: as long as there is room, these are shown once more"""


@dataclass(frozen=True, slots=True)
class Attached:
    """What a message tells of a file."""

    id: AttachmentId
    name: str
    media_type: str
    size_bytes: int

    @classmethod
    def of(cls, file: Attachment) -> Self:
        return cls(file.id, file.name, file.media_type, file.size_bytes)

    def shown(self, contents: Mapping[AttachmentId, bytes]) -> ShownFile:
        return ShownFile(str(self.id), self.name, self.media_type, contents.get(self.id))


# Any: JSON, whose shape is written here alone
def write_attached(files: Iterable[Attached]) -> list[dict[str, Any]] | None:
    """Write them down; None where there are none, which most messages have."""
    return [
        {"id": str(one.id), "name": one.name, "media_type": one.media_type, "size_bytes": one.size_bytes}
        for one in files
    ] or None


def read_attached(kept: Sequence[Mapping[str, Any]] | None) -> tuple[Attached, ...]:
    return tuple(
        Attached(AttachmentId(UUID(one["id"])), one["name"], one["media_type"], one["size_bytes"]) for one in kept or ()
    )


def count_problems(ids: Sequence[AttachmentId]) -> list[FieldError]:
    if len(ids) > AT_ONCE:
        return [FieldError("attachments", f"must be at most {AT_ONCE}")]
    return [FieldError("attachments", "names a file twice")] if len(set(ids)) < len(ids) else []


def file_problems(ids: Sequence[AttachmentId], found: Mapping[AttachmentId, Attachment]) -> list[FieldError]:
    """Say what is wrong with the files of a question; somebody else's is none."""
    missing = [number for number, one in enumerate(ids) if one not in found]
    if missing:
        return [FieldError(f"attachments[{number}]", "is no attachment of yours") for number in missing]
    if sum(one.size_bytes for one in found.values()) > QUESTION_LIMIT_BYTES:
        return [FieldError("attachments", f"must have at most {QUESTION_LIMIT_BYTES // MIB} MB together")]
    return []


def to_show(of_question: Iterable[Attached], before: Sequence[Iterable[Attached]]) -> list[AttachmentId]:
    """Choose the files that are shown: the question's, and those before it, newest first, until one has no room.

    Shapes: `before` is oldest first.
    """
    chosen = {one.id: one.size_bytes for one in of_question}
    room = SHOWN_LIMIT_BYTES - sum(chosen.values())
    for files in reversed(before):
        for one in files:
            if one.id in chosen:
                continue
            room -= one.size_bytes
            if room < 0:
                return list(chosen)
            chosen[one.id] = one.size_bytes
    return list(chosen)
