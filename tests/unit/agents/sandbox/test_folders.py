"""Work folders: whose they are, what they hold, and when they are forgotten."""

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest

from app.agents.contract import Turn
from app.agents.sandbox import folders as module
from app.agents.sandbox.folders import FolderBusy, FolderFull, WorkFolders, name_of
from app.agents.sandbox.inbox import Inbox, PathRefused, checked_path
from app.agents.sandbox.ports import BackendAway
from app.kernel.identity import Acting
from app.kernel.ids import ChatId, new_run_id
from tests.unit.agents.desk import a_caller, a_turn
from tests.unit.agents.sandbox.rig import SMALL


def folders_in(tmp_path: Path, *, most: int = 10) -> WorkFolders:
    return WorkFolders(tmp_path / "sandbox", SMALL, most=most, keep=timedelta(days=1))


def in_chat(number: int, *, user: str = "7") -> Turn:
    return replace(a_turn(caller=a_caller(user)), chat_id=ChatId(number))


def test_chats_users_and_runs_have_folders_of_their_own() -> None:
    acting = [Acting(new_run_id(), 1, ("a",)) for _ in range(2)]
    outside = [replace(in_chat(1), chat_id=None, caller=replace(a_caller(), acting=one)) for one in acting]
    turns = [in_chat(1), in_chat(2), in_chat(1, user="8"), in_chat(1, user="../../x"), *outside]

    names = [name_of(turn) for turn in turns]

    assert len(set(names)) == len(names)
    assert not any("/" in name or ".." in name for name in names)
    assert name_of(replace(in_chat(1), text="other")) == names[0]


async def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    folders = folders_in(tmp_path)

    async with folders.held(in_chat(1)), folders.held(in_chat(2)):
        with pytest.raises(FolderBusy):
            async with folders.held(in_chat(1)):
                raise AssertionError

    async with folders.held(in_chat(1)):
        pass


async def test_a_change_that_was_cut_off_has_not_happened(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    async with folders.held(in_chat(1)) as folder:
        folder.write(PurePosixPath("a"), b"old")
        (folder.prepare() / "a").write_bytes(b"new")
        (folder.home / "now").rename(folder.home / "before")  # and here it died

    async with folders.held(in_chat(1)) as folder:
        assert folder.read(PurePosixPath("a")) == b"old"
        assert sorted(path.name for path in folder.home.iterdir()) == ["lock", "now"]


async def test_what_came_of_a_call_is_known_by_its_key_until_the_next(tmp_path: Path) -> None:
    async with folders_in(tmp_path).held(in_chat(1)) as folder:
        folder.prepare()
        folder.take("first", {"exit_code": 0})

        assert folder.result_of("first") == {"exit_code": 0}
        assert folder.result_of("second") is None
        assert folder.result_of("") is None


async def test_a_folder_takes_no_more_than_its_quota(tmp_path: Path) -> None:
    async with folders_in(tmp_path).held(in_chat(1)) as folder:
        with pytest.raises(FolderFull, match="there is room for"):
            folder.write(PurePosixPath("big"), bytes(SMALL.files_bytes + 1))
        for number in range(SMALL.files):
            folder.write(PurePosixPath(f"d/{number}"), b"x")

        with pytest.raises(FolderFull, match="20 files at most"):
            folder.write(PurePosixPath("one more"), b"x")
        folder.write(PurePosixPath("d/3"), b"another")

        assert len(folder.listed()) == SMALL.files


async def test_a_link_that_somebody_made_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    async with folders_in(tmp_path).held(in_chat(1)) as folder:
        (folder.files / "file").symlink_to(tmp_path / "secret")
        (folder.files / "folder").symlink_to(tmp_path)

        assert folder.read(PurePosixPath("file")) is None
        with pytest.raises(FileNotFoundError):
            folder.write(PurePosixPath("folder/new"), b"x")
        folder.write(PurePosixPath("file"), b"mine")

    assert (tmp_path / "secret").read_text() == "s3cret"
    assert not (tmp_path / "new").exists()


async def test_the_longest_unused_makes_room_for_a_new_one(tmp_path: Path) -> None:
    folders = folders_in(tmp_path, most=2)
    for number, age_s in ((1, 300), (2, 400)):
        async with folders.held(in_chat(number)) as folder:
            os.utime(folder.home, (folder.home.stat().st_mtime - age_s,) * 2)

    async with folders.held(in_chat(3)):
        pass

    assert sorted(path.name[:6] for path in folders.root.iterdir()) == ["chat-1", "chat-3"]


async def test_what_nobody_used_is_forgotten_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    for number in (1, 2):
        async with folders.held(in_chat(number)) as folder:
            os.utime(folder.home, (1, 1))

    async with folders.held(in_chat(3)) as folder:
        os.utime(folder.home, (1, 1))
        assert await asyncio.to_thread(folders.forget_old) == 2

    assert [path.name[:6] for path in folders.root.iterdir()] == ["chat-3"]


PATHS = ["", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a/", "a\0b", "\udcff", "a/" * 20 + "b", "x" * 256, 7, None]


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_path_that_leads_elsewhere_is_refused(path: object) -> None:
    with pytest.raises(PathRefused):
        checked_path(path)


def test_what_comes_out_of_a_sandbox_lands_where_it_is_meant_to_or_nowhere(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    inbox = Inbox(tmp_path / "into", SMALL)
    for path in ("a/b", "../c", "a/b", "a/b/c", "/d", "e"):
        inbox.begin(path)
        inbox.write(path.encode())
    inbox.close()

    found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"into/a/b": "a/b", "into/e": "e"}
    assert inbox.left_out == ["../c", "a/b", "a/b/c", "/d"]


def test_a_sandbox_that_gives_back_more_than_it_may_is_not_believed(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, SMALL)
    inbox.begin("a")

    with pytest.raises(BackendAway):
        inbox.write(bytes(SMALL.files_bytes + 1))
    inbox.close()
