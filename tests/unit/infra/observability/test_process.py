"""What is left of the machine, as a scraper and as the health page see it."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from app.infra.observability import process
from app.infra.observability.health import NotWell
from app.infra.observability.metrics import exposition
from app.infra.observability.process import Resources, open_files, process_families
from tests.exposition import read_exposition

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - what shutil gives


def test_a_process_is_measured_by_the_names_everybody_uses() -> None:
    found = read_exposition(exposition(process_families("1.2.3")).decode())

    assert found["process_resident_memory_bytes"].value("process_resident_memory_bytes") > 1_000_000
    assert found["process_start_time_seconds"].value("process_start_time_seconds") > 1_700_000_000
    ((_, labels),) = found["portico_build_info"].samples
    assert ("version", "1.2.3") in labels


def test_an_open_file_is_counted(tmp_path: Path) -> None:
    before = open_files()

    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert open_files() == before + 2


def test_open_files_are_counted_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_COUNTED", tmp_path / "nowhere")
    before = open_files()

    with (tmp_path / "one").open("w"):
        assert open_files() == before + 1


async def test_resources_are_told_also_of_a_folder_that_is_still_to_come(tmp_path: Path) -> None:
    words = await Resources(tmp_path / "later" / "portico").check()

    assert all(word in words for word in ("peak memory", "open files", "of disk free", "load"))


async def test_a_disk_that_is_nearly_full_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 10**8, 10**8))

    with pytest.raises(NotWell, match="95 MB of disk free"):
        await Resources(tmp_path).check()


async def test_files_that_run_out_are_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "open_files", lambda: 10**9)

    with pytest.raises(NotWell, match="open files"):
        await Resources(tmp_path).check()
