"""What was said before a turn, and the files that were given with it or with the turn itself: values, no more."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.kernel.errors import Malformed

type Speaker = Literal["user", "assistant", "system"]


class AttachmentNotTaken(Malformed):
    type = "attachment-not-taken"
    title = "The language model takes no files of this kind"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a person gave with a message: text in UTF-8, an image, or PDF, as `media_type` says.

    `content` is None where it is named only: it was deleted, or there is no room to show it once more.
    """

    id: str
    name: str
    media_type: str
    content: bytes | None = field(default=None, repr=False)

    @property
    def is_text(self) -> bool:
        return not (self.media_type.startswith("image/") or self.media_type == "application/pdf")


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message said before this turn, as the model is to see it."""

    role: Speaker
    content: str
    attachments: tuple[Attachment, ...] = ()

    @property
    def words(self) -> str:
        """What was said, with the names of what was given."""
        return with_names(self.content, self.attachments)


def with_names(text: str, attachments: Sequence[Attachment]) -> str:
    """Name files in place of showing them."""
    return "\n".join((*map(named, attachments), text))


def named(attachment: Attachment) -> str:
    return f"[attached: {attachment.name}]"
