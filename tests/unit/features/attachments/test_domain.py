"""What a file turns out to be, how much of it is taken, and what it is called."""

import hashlib

import pytest

from app.features.attachments.domain.attachment import (
    FILE_LIMIT_BYTES,
    TEXT_LIMIT_BYTES,
    AttachmentDigestMismatch,
    AttachmentTooLarge,
    Upload,
    examine,
    read_digest,
)
from app.features.attachments.domain.kinds import AttachmentTypeRefused, binary_kind, is_text
from app.features.attachments.domain.names import clean_name
from app.kernel.errors import ValidationFailed
from tests.files import GIF, JPEG, PDF, PNG, TEXT, WEBP

BINARY = {"image/png": PNG, "image/jpeg": JPEG, "image/gif": GIF, "image/webp": WEBP, "application/pdf": PDF}


@pytest.mark.parametrize(("kind", "content"), BINARY.items())
def test_the_content_tells_what_a_file_is(kind: str, content: bytes) -> None:
    found = [examine(Upload(content, "a.txt", said)) for said in (kind, "", "application/octet-stream")]

    assert {(one.media_type, one.name, one.digest) for one in found} == {
        (kind, "a.txt", hashlib.sha256(content).digest())
    }


@pytest.mark.parametrize(
    ("name", "declared", "kind"),
    [
        ("notes.txt", "", "text/plain"),
        ("notes", "", "text/plain"),
        ("README.MD", "application/octet-stream", "text/markdown"),
        ("rows.csv", "", "text/csv"),
        ("a.json", "", "application/json"),
        ("a.json", "text/plain; charset=utf-8", "text/plain"),
        ("a.py", "text/x-python", "text/x-python"),
        ("a", "Application/JSON", "application/json"),
    ],
)
def test_a_text_is_what_it_is_said_to_be_or_called(name: str, declared: str, kind: str) -> None:
    assert examine(Upload(TEXT, name, declared)).media_type == kind


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (PNG, "image/jpeg"),
        (PNG, "text/plain"),
        (PDF, "image/png"),
        (TEXT, "image/png"),
        (TEXT, "application/pdf"),
        (TEXT, "application/x-www-form-urlencoded"),
        (b"<svg onload='alert(1)'/>", "image/svg+xml"),
        (TEXT, "text/" + "x" * 80),
        (TEXT, "text/plain\r\nset-cookie: a=b"),
        (b"MZ\x90\x00", ""),
        (b"MZ\x90\x00", "text/plain"),
        (b"a\0b", ""),
        ("Käse".encode("latin-1"), "text/plain"),
        ("Käse".encode("utf-16"), "text/plain"),
        (b"RIFF\x00\x00\x00\x00WAVE\x00", "image/webp"),
        (b" %PDF-1.4\x00", "application/pdf"),
    ],
)
def test_what_is_of_no_kind_or_of_another_is_refused(content: bytes, declared: str) -> None:
    with pytest.raises(AttachmentTypeRefused):
        examine(Upload(content, "x", declared))


def test_a_prefix_alone_is_no_file_of_a_kind() -> None:
    assert [binary_kind(content[:3]) for content in (PNG, GIF, WEBP, PDF)] == [None] * 4
    assert binary_kind(b"") is None
    assert is_text("ends in the midst of ä".encode()[:-1]) is False


def test_a_file_has_its_limit_by_its_kind() -> None:
    assert examine(Upload(PNG.ljust(FILE_LIMIT_BYTES, b"\0"))).media_type == "image/png"
    assert examine(Upload(b"x" * TEXT_LIMIT_BYTES)).media_type == "text/plain"
    with pytest.raises(AttachmentTooLarge, match="10 MB"):
        examine(Upload(PNG.ljust(FILE_LIMIT_BYTES + 1, b"\0")))
    with pytest.raises(AttachmentTooLarge, match="A text has at most 1 MB"):
        examine(Upload(b"x" * (TEXT_LIMIT_BYTES + 1)))


def test_nothing_is_no_file() -> None:
    with pytest.raises(ValidationFailed) as refused:
        examine(Upload(b"", "a.png", "image/png"))

    assert refused.value.errors[0].field == "file"


def test_a_digest_is_compared() -> None:
    right = hashlib.sha256(PNG).digest()

    assert examine(Upload(PNG, digest=read_digest(f"sha256:{right.hex().upper()}"))).digest == right
    with pytest.raises(AttachmentDigestMismatch, match=right.hex()):
        examine(Upload(PNG, digest=b"\0" * 32))


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "0" * 63, "sha1:" + "0" * 40, "0" * 64, "sha256:" + "g" * 64]
)
def test_a_digest_is_written_in_one_way(text: str) -> None:
    with pytest.raises(ValidationFailed):
        read_digest(text)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("plan.pdf", "plan.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\plan.pdf", "plan.pdf"),
        ("a\r\nb\0c\x7f.png", "abc.png"),
        ("gnp.\u202egpj", "gnp.gpj"),
        ("Ka\u0308se.txt", "Käse.txt"),
        ("  .hidden. ", "hidden"),
        ("", "attachment.png"),
        ("..", "attachment.png"),
        ("\ud800", "attachment.png"),
        ("/", "attachment.png"),
        ("🐙.png", "🐙.png"),
        ("x" * 300 + ".png", "x" * 251 + ".png"),
        ("x" * 300, "x" * 255),
        ("x." + "y" * 300, "x." + "y" * 253),
    ],
)
def test_a_name_is_cleaned(given: str, name: str) -> None:
    assert clean_name(given, suffix="png") == name
