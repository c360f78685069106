"""Who may make a backup, and how many are kept: decided before anything is read."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from app.features.backups.domain.backup import MAX_KEPT, BackupByAgent, TooManyBackups
from app.features.backups.use_cases.back_up import BackUp, ListBackups
from app.kernel.errors import Forbidden
from app.kernel.identity import Acting, Principal
from app.kernel.ids import new_run_id
from tests.fakes.chat_slice import ADMIN, ANN


def making(folder: Path) -> BackUp:
    nothing = cast("object", None)
    return BackUp(nothing, nothing, nothing, nothing, nothing, folder)  # type: ignore[arg-type] # nothing is asked of them


def acting(who: Principal) -> Principal:
    return replace(who, acting=Acting(new_run_id(), 1, ("assistant",)))


async def test_who_is_no_admin_and_who_is_an_agent_makes_none(tmp_path: Path) -> None:
    for use in (making(tmp_path), ListBackups(tmp_path)):
        with pytest.raises(Forbidden):
            await use(ANN)
        with pytest.raises(BackupByAgent):
            await use(acting(ADMIN))


async def test_so_many_are_kept_and_no_more_is_made(tmp_path: Path) -> None:
    for number in range(MAX_KEPT):
        (tmp_path / f"portico-20261129T000000Z-{number:08x}.zip").touch()

    assert len(await ListBackups(tmp_path)(ADMIN)) == MAX_KEPT
    with pytest.raises(TooManyBackups, match="take some away"):
        await making(tmp_path)(ADMIN)
