"""`portico backup` and `portico restore`: an archive at a path of the operator's, and words on what is wrong."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from app.surfaces.cli.main import main
from tests.builders import public_pem


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Portico(Protocol):
    def __call__(self, *arguments: str) -> Said: ...


@pytest.fixture
def portico(
    migrated_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Portico]:
    (tmp_path / "gateway.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTGRES_DSN", migrated_dsn)
    monkeypatch.setenv("JWT_PUBLIC_KEY", public_pem())
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Said:
        code = main(_no_root, arguments)
        return Said(code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, before)


def _no_root() -> object:
    raise AssertionError("these commands need no composition root")


def test_an_archive_is_written_and_brought_back(portico: Portico, tmp_path: Path) -> None:
    saved = portico("backup", "all.zip")
    brought = portico("restore", "all.zip")

    assert (saved.code, brought.code) == (0, 0)
    assert saved.out.startswith("wrote all.zip: ")
    assert "chats: 0 restored" in brought.out
    assert [file.name for file in tmp_path.glob("all*")] == ["all.zip"]


def test_what_cannot_be_done_is_told_with_the_file(portico: Portico, tmp_path: Path) -> None:
    (tmp_path / "words.zip").write_text("words")

    said = [
        portico("backup", "words.zip"),
        portico("backup", "nowhere/all.zip"),
        portico("restore", "words.zip"),
        portico("restore", "nothing.zip"),
    ]

    assert [one.code for one in said] == [1, 1, 1, 1]
    assert "words.zip is there already" in said[0].err
    assert "nowhere/all.zip" in said[1].err
    assert "words.zip is no archive" in said[2].err
    assert "There is no file nothing.zip" in said[3].err
