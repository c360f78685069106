"""Names of files in headers, read from whatever wrote them and written so that everybody reads them."""

import pytest

from app.infra.wire.disposition import for_download, parameters_of


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="plan.pdf"', "plan.pdf"),
        ("attachment;filename=plan.pdf", "plan.pdf"),
        ('attachment; FileName = "a b.txt"', "a b.txt"),
        (r'attachment; filename="say \"hi\" \\ .txt"', r'say "hi" \ .txt'),
        (r'attachment; filename="C:\dir\plan.pdf"', r"C:\dir\plan.pdf"),
        ("attachment; filename=\"old\"; filename*=UTF-8''K%C3%A4se.txt", "Käse.txt"),
        ("attachment; filename*=iso-8859-1'de'K%E4se.txt; filename=old", "Käse.txt"),
        ("attachment; filename*=utf-16''x; filename=plain", "plain"),
        ("attachment; filename*=UTF-8''%FF; filename=plain", "\ufffd"),
        ('attachment; filename="a;b=c.txt"', "a;b=c.txt"),
        ('attachment; filename="one"; filename="two"', "one"),
        ("attachment; filename=", ""),
        ('attachment; filename="', ""),
        ("attachment", None),
        ("", None),
        (";;;=\"'", None),
    ],
)
def test_a_name_is_read(value: str, name: str | None) -> None:
    assert parameters_of(value).get("filename") == name


@pytest.mark.parametrize(
    "name", ["plan.pdf", "a b.txt", 'say "hi".txt', "Käse.txt", "🐙.png", "a%20b", "back\\slash", "é" * 255]
)
def test_what_is_written_is_read_back_and_is_ascii(name: str) -> None:
    field = for_download(name)

    assert field.isascii()
    assert "\n" not in field
    assert parameters_of(field)["filename"] == name


def test_a_plain_name_is_written_plainly() -> None:
    assert for_download("plan.pdf") == 'attachment; filename="plan.pdf"'
    assert for_download("Käse.txt") == "attachment; filename=\"K_se.txt\"; filename*=UTF-8''K%C3%A4se.txt"
