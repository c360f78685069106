from pathlib import Path

import pytest

from app.agents.llm.local_model_home import Announcement, ModelHome, home_of


def an_announcement(*, port: int = 4242) -> Announcement:
    return Announcement(port=port, api_key="secret", pid=7, started_at=1.5, context_tokens=4096)


def test_what_a_child_announces_is_read_back_until_withdrawn(tmp_path: Path) -> None:
    home = ModelHome(tmp_path)

    home.announce(an_announcement(port=1))
    home.announce(an_announcement(port=2))
    announced = home.read()
    home.withdraw()

    assert announced == an_announcement(port=2)
    assert home.read() is None


def test_only_the_owner_may_read_the_key(tmp_path: Path) -> None:
    home = home_of(tmp_path, Path("/models/a.gguf"))
    home.make()

    home.announce(an_announcement())

    assert home.folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in home.folder.iterdir()] == [0o600]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"port": 1}', '"text"'])
def test_a_broken_announcement_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "child.json").write_text(content)

    assert ModelHome(tmp_path).read() is None


def test_programs_with_different_model_files_do_not_meet(tmp_path: Path) -> None:
    one, same, other = (home_of(tmp_path, Path(f"/models/{name}.gguf")) for name in ("a", "a", "b"))

    assert one == same
    assert one != other
