import os
from pathlib import Path

import pytest

from app.edge.file_watch import SIZE_LIMIT_BYTES, FileWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "table.toml"
    file.write_bytes(b"one")
    return file


def watching(file: Path) -> FileWatch:
    """A watch that has seen the file come to rest."""
    watch = FileWatch(file, file.read_bytes())
    assert not any(watch.has_changed() for _ in range(3))
    return watch


def changes(watch: FileWatch, *, looks: int = 4) -> list[bytes | None]:
    """What each of some looks found to be new."""
    return [watch.content for _ in range(looks) if watch.has_changed()]


def aged(file: Path, *, seconds: int) -> None:
    """Let a file look as if it had been written long ago."""
    before = file.stat()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns - seconds * 10**9))


def test_a_file_that_stays_as_it_is_has_no_news(file: Path) -> None:
    assert changes(watching(file)) == []


def test_new_content_is_news_once(file: Path) -> None:
    watch = watching(file)

    file.write_bytes(b"two")

    assert changes(watch) == [b"two"]
    assert changes(watch) == []


def test_what_changed_before_the_first_look_is_news(file: Path) -> None:
    watch = FileWatch(file, b"what was read at start")

    assert changes(watch) == [b"one"]


def test_a_file_renamed_into_its_place_is_news(file: Path) -> None:
    watch = watching(file)
    other = file.with_name("other")
    other.write_bytes(b"two")

    other.replace(file)

    assert changes(watch) == [b"two"]


def test_a_link_swapped_in_the_path_is_news(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: table.toml -> ..data/table.toml, ..data -> a folder a version."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "table.toml").write_text(version)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "table.toml").symlink_to("..data/table.toml")
    watch = watching(tmp_path / "table.toml")
    (tmp_path / "..next").symlink_to("2")

    (tmp_path / "..next").replace(tmp_path / "..data")

    assert changes(watch) == [b"2"]


def test_a_file_that_is_still_written_is_left_alone(file: Path) -> None:
    watch = watching(file)
    found = []

    for content in (b"", b"t", b"tw", b"two"):
        file.write_bytes(content)
        found += changes(watch, looks=1)

    assert found == []
    assert changes(watch) == [b"two"]


def test_a_write_that_leaves_size_and_time_as_they_were_is_news_while_the_file_is_young(file: Path) -> None:
    watch = watching(file)
    before = file.stat()

    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert changes(watch) == [b"two"]


def test_the_same_content_written_again_is_no_news(file: Path) -> None:
    watch = watching(file)

    file.write_bytes(b"one")
    aged(file, seconds=1)

    assert changes(watch) == []


def test_an_old_file_is_not_read_to_be_watched(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(file, seconds=3600)
    watch = watching(file)
    monkeypatch.delattr(Path, "open")

    assert changes(watch) == []


def test_a_file_that_is_gone_is_news_and_so_is_its_return(file: Path) -> None:
    watch = watching(file)

    file.unlink()
    gone = changes(watch)
    file.write_bytes(b"one")

    assert gone == [None]
    assert changes(watch) == [b"one"]


def test_a_file_too_large_to_be_a_table_is_not_held(file: Path) -> None:
    watch = watching(file)

    with file.open("wb") as opened:
        opened.truncate(SIZE_LIMIT_BYTES + 1)

    assert changes(watch) == [None]


def test_who_asks_gets_the_content_of_the_moment(file: Path) -> None:
    watch = watching(file)
    file.write_bytes(b"two")

    watch.read_again()

    assert watch.content == b"two"
    assert changes(watch) == []
