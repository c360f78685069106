"""Templates of agents are written where the operator allows it, and over nothing."""

from pathlib import Path

import pytest

from app.agents.factory import AgentFactory
from app.agents.installing import InstallTemplates, NoAgentsFolder, template_names
from app.kernel.errors import Forbidden, ValidationFailed
from tests.fakes.chat_slice import ADMIN, ANN


async def test_what_is_installed_is_found_and_what_is_there_is_kept(tmp_path: Path) -> None:
    (first, *_) = template_names()
    (tmp_path / f"{first}.py").write_text("mine = 1\n")

    done = await InstallTemplates(tmp_path)(ADMIN, [])

    assert (done.kept, sorted([*done.kept, *done.installed])) == ([first], list(template_names()))
    assert (tmp_path / f"{first}.py").read_text() == "mine = 1\n"
    (tmp_path / f"{first}.py").unlink()
    await InstallTemplates(tmp_path)(ADMIN, [])
    assert set(AgentFactory.discover(folder=tmp_path).agents) > set(AgentFactory.discover().agents)


async def test_without_a_folder_that_can_be_written_to_nothing_is_installed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (None, tmp_path / "file" / "below"):
        with pytest.raises(NoAgentsFolder, match="AGENTS_DIR"):
            await InstallTemplates(folder)(ADMIN, [])


async def test_who_is_no_admin_and_what_is_no_template_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        await InstallTemplates(tmp_path)(ANN, [])
    with pytest.raises(ValidationFailed):
        await InstallTemplates(tmp_path)(ADMIN, ["none"])
