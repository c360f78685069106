"""Which kind of file this is: its content decides, and what is said of it may only agree.

Facts
- PNG begins with eight bytes of its own (W3C PNG §5.2), JPEG with FF D8 FF, GIF with its version (GIF89a §17), WebP is
  a RIFF file of that form (RFC 9649 §2.4), PDF begins with `%PDF-` (ISO 32000-1 §7.5.2).
- Text is what is valid UTF-8 and holds no NUL, which no text needs and PostgreSQL keeps in none.
- SVG is text that runs scripts, and is none of the kinds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.kernel.errors import Malformed

PDF = "application/pdf"
PLAIN = "text/plain"
KEPT = "PNG, JPEG, GIF and WebP images, PDF files, and text in UTF-8"

_UNSAID = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/x-pdf": PDF,
}
_TEXTS = frozenset(
    f"application/{name}"
    for name in ("json", "ld+json", "x-ndjson", "xml", "yaml", "x-yaml", "toml", "sql", "javascript", "x-sh")
)
_TEXT = re.compile(r"text/[a-z0-9][a-z0-9.+_-]{0,60}")
_BY_SUFFIX: Mapping[str, str] = {
    "markdown": "text/markdown",
    "md": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "html": "text/html",
    "json": "application/json",
    "xml": "application/xml",
    "yml": "application/yaml",
    "yaml": "application/yaml",
    "toml": "application/toml",
}
_SUFFIXES: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    PDF: "pdf",
    **{media_type: suffix for suffix, media_type in _BY_SUFFIX.items()},
}


class AttachmentTypeRefused(Malformed):
    type = "attachment-type-refused"
    title = "The file is of no kind that is kept, or not of the one it is said to be"


@dataclass(frozen=True, slots=True)
class Kind:
    media_type: str
    is_text: bool = False

    @property
    def suffix(self) -> str:
        return _SUFFIXES.get(self.media_type, "txt")


def kind_of(content: bytes, *, declared: str, name: str) -> Kind:
    """Errors: AttachmentTypeRefused."""
    said = declared.partition(";")[0].strip().lower()
    said = _ALIASES.get(said, said)
    found = binary_kind(content[:16])
    if found is None and is_text(content):
        return _text_kind(said, name)
    if found is None:
        raise AttachmentTypeRefused(f"Its content is none of {KEPT}.")
    if said not in _UNSAID and said != found:
        raise AttachmentTypeRefused(f"Its content is {found}: send it as that, or as application/octet-stream.")
    return Kind(found)


def binary_kind(beginning: bytes) -> str | None:
    if beginning.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if beginning.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if beginning.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if beginning.startswith(b"RIFF") and beginning[8:12] == b"WEBP":
        return "image/webp"
    return PDF if beginning.startswith(b"%PDF-") else None


def is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text_kind(said: str, name: str) -> Kind:
    if said in _UNSAID:
        return Kind(_BY_SUFFIX.get(name.rpartition(".")[2].lower(), PLAIN), is_text=True)
    if said in _TEXTS or _TEXT.fullmatch(said):
        return Kind(said, is_text=True)
    raise AttachmentTypeRefused("Its content is text: send it as text/plain, or as application/octet-stream.")
