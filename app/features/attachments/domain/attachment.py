"""What an attachment is, how much may be kept, and what can be wrong with one."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

from app.features.attachments.domain.kinds import kind_of
from app.features.attachments.domain.names import clean_name
from app.kernel.errors import Conflict, FieldError, Malformed, NotFound, TooLarge, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId, UserId

MIB = 1024 * 1024
FILE_LIMIT_BYTES = 10 * MIB
TEXT_LIMIT_BYTES = 1 * MIB
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_WRITTEN = "must be written as sha256: and 64 hexadecimal digits"


class AttachmentNotFound(NotFound):
    type = "attachment-not-found"
    title = "There is no such attachment"


class AttachmentTooLarge(TooLarge):
    type = "attachment-too-large"
    title = "The file is larger than an attachment may be"

    def __init__(self, detail: str = "") -> None:
        super().__init__(
            detail or f"An image or a PDF file has at most {FILE_LIMIT_BYTES // MIB} MB; send a smaller one."
        )


class AttachmentDigestMismatch(Malformed):
    type = "attachment-digest-mismatch"
    title = "The file is not the one its digest was made of"


class AttachmentsFull(Conflict):
    type = "attachments-full"
    title = "There is no room for another attachment"


@dataclass(frozen=True, slots=True)
class Room:
    """What one owner's attachments may come to, each counted whole, whoever else has the same."""

    files: int = 1_000
    size_bytes: int = 200 * MIB


ROOM = Room()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of one owner. It never changes; `digest` is the SHA-256 of its content."""

    id: AttachmentId
    owner: UserId
    name: str
    media_type: str
    size_bytes: int
    digest: bytes
    created_at: datetime

    @property
    def digest_text(self) -> str:
        return f"sha256:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class NewAttachment:
    id: AttachmentId
    owner: UserId
    name: str
    media_type: str
    digest: bytes
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came: what its sender says of it may be wrong. `digest` is None where nothing was said of it."""

    content: bytes = field(repr=False)
    name: str = ""
    declared: str = ""
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """What an upload turned out to be."""

    name: str
    media_type: str
    digest: bytes


def examine(upload: Upload) -> Examined:
    """Find out what was sent, by its content. Cost: up to tens of milliseconds, so in a thread.

    Errors: ValidationFailed, AttachmentTooLarge, AttachmentTypeRefused, AttachmentDigestMismatch.
    """
    size = len(upload.content)
    if not size:
        raise ValidationFailed("Some fields are not valid.", errors=[FieldError("file", "is empty")])
    if size > FILE_LIMIT_BYTES:
        raise AttachmentTooLarge
    digest = hashlib.sha256(upload.content).digest()
    if upload.digest not in (None, digest):
        raise AttachmentDigestMismatch(f"What came has the digest sha256:{digest.hex()}; send the file again.")
    kind = kind_of(upload.content, declared=upload.declared, name=upload.name)
    if kind.is_text and size > TEXT_LIMIT_BYTES:
        raise AttachmentTooLarge(f"A text has at most {TEXT_LIMIT_BYTES // MIB} MB; send a shorter one.")
    return Examined(clean_name(upload.name, suffix=kind.suffix), kind.media_type, digest)


def read_digest(text: str) -> bytes:
    """Errors: ValidationFailed."""
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise ValidationFailed("Some fields are not valid.", errors=[FieldError("digest", _WRITTEN)])
    return bytes.fromhex(found[1])


def may_touch(who: Principal, attachment: Attachment) -> bool:
    return who.is_admin or attachment.owner == who.user_id
