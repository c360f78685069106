"""The skills of a folder: found, checked when they are loaded, and nothing skipped in silence."""

from pathlib import Path

import pytest

from app.agents.house import Skill
from app.agents.provider import load_skills, skill_flaws
from app.agents.skills.catalogue import PARTS_LIMIT, SHIPPED, SKILLS_LIMIT, TEXT_LIMIT_CHARS, Catalogue, SkillBroken

TEXT = "---\ndescription: Finds mistakes.\n---\nRead it twice.\n"


def write(file: Path, text: str = TEXT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def test_files_and_folders_are_skills(tmp_path: Path) -> None:
    write(tmp_path / "proofread.md", "---\nname: proof-read\ndescription: Finds\n  mistakes.\nagent: echo\n---\nTwice.")
    write(tmp_path / "research" / "SKILL.md", "---\ndescription: Digs.\nmodel: test\ntools: recall, forget\n---\nDig.")
    write(tmp_path / "research" / "sources.md", "Books.")
    write(tmp_path / "research" / "more" / "deep.md", "Wells.")
    for no_skill in ("README.md", "_draft.md", ".hidden.md", "notes.txt", "_old/x.md"):
        write(tmp_path / no_skill, "no front matter")

    found = Catalogue.load(tmp_path).skills

    assert list(found) == ["proof-read", "research"]
    where = str(tmp_path / "proofread.md")
    assert found["proof-read"] == Skill("proof-read", "Finds mistakes.", "Twice.", agent="echo", where=where)
    assert (found["research"].model, found["research"].tools) == ("test", ("recall", "forget"))
    assert found["research"].parts == {"more/deep.md": "Wells.", "sources.md": "Books."}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Read it.", "must begin with a line of ---"),
        ("---\nname: ok\n---\nText.", "description: say in at most"),
        (f"---\ndescription: {'x' * 1025}\n---\nText.", ":2: description: say in at most"),
        ("---\ndescription: x\n---\n\n", "has no text"),
        ("---\ndescription: x\nname: Not OK\n---\nText.", ":3: name: 'Not OK' is not of the form"),
        ("---\ndescription: x\ntool: y\n---\nText.", ":3: tool: is not a key of a skill; there are: name"),
        ("---\ndescription: [x, y]\n---\nText.", ":2: description: must be one text"),
        (TEXT + "x" * TEXT_LIMIT_CHARS, "is longer than"),
    ],
)
def test_what_is_broken_stops_the_start_with_file_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    file = write(tmp_path / "proofread.md", text)

    with pytest.raises(SkillBroken) as broken:
        Catalogue.load(tmp_path)

    assert str(file) in str(broken.value)
    assert reason in str(broken.value)


def test_what_other_programs_write_into_it_is_let_pass(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "---\ndescription: x\nlicense: MIT\nversion: 2\n---\nText.")

    assert list(Catalogue.load(tmp_path).skills) == ["a"]


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"---\ndescription: \xff\n---\nx")

    with pytest.raises(SkillBroken, match="is not UTF-8"):
        Catalogue.load(tmp_path)


def test_two_of_one_name_and_folders_without_a_skill_are_told(tmp_path: Path) -> None:
    first = write(tmp_path / "one" / "a.md")
    write(tmp_path / "two" / "a.md")
    write(tmp_path / "three" / "b" / "notes.md")

    with pytest.raises(SkillBroken, match=f"already a skill 'a', in {first}"):
        Catalogue.load(tmp_path / "one", tmp_path / "two")
    with pytest.raises(SkillBroken, match=r"has no SKILL\.md"):
        Catalogue.load(tmp_path / "three")
    with pytest.raises(SkillBroken, match="mend SKILLS_DIR"):
        Catalogue.load(tmp_path / "nowhere")


def test_there_are_bounds(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "a" / "SKILL.md")
    for number in range(PARTS_LIMIT + 1):
        write(tmp_path / "parts" / "a" / f"{number}.md", "x")
    for number in range(SKILLS_LIMIT + 1):
        write(tmp_path / "many" / f"s{number}.md")

    with pytest.raises(SkillBroken, match=f"more than {PARTS_LIMIT} other"):
        Catalogue.load(tmp_path / "parts")
    with pytest.raises(SkillBroken, match=f"more than {SKILLS_LIMIT} skills"):
        Catalogue.load(tmp_path / "many")


def test_a_skill_fits_the_agents_there_are(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "---\ndescription: x\nagent: nobody\n---\nText.")
    catalogue = Catalogue.load(tmp_path)

    with pytest.raises(SkillBroken, match="there is no agent 'nobody'; there are: echo"):
        catalogue.check(["echo"])
    with pytest.raises(SkillBroken, match="there is an agent 'a'; give the skill another name"):
        catalogue.check(["a", "nobody"])


def test_the_settings_are_checked_for_them(tmp_path: Path) -> None:
    write(tmp_path / "agents" / "a.md", "---\ndescription: x\nagent: nobody\n---\nText.")
    write(tmp_path / "models" / "b.md", "---\ndescription: x\nmodel: no-such-provider:x\n---\nText.")

    assert list(skill_flaws(None, gguf=None)) == []
    (of_agents,) = skill_flaws(tmp_path / "agents", gguf=None)
    assert "there is no agent 'nobody'" in str(of_agents)
    (of_models,) = skill_flaws(tmp_path / "models", gguf=None)
    assert "no-such-provider" in str(of_models)


def test_those_that_are_shipped_are_whole() -> None:
    found = load_skills(None).skills

    assert {Path(skill.where).is_relative_to(SHIPPED) for skill in found.values()} == {True}
    assert list(found) == ["fact-check", "weigh-options"]
    assert list(found["fact-check"].parts) == ["verdicts.md"]
