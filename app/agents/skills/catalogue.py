"""The skills there are: read from folders of Markdown when the program starts, and never again.

    SKILLS_DIR/proofread.md                    # a skill in one file
    SKILLS_DIR/research/SKILL.md               # one with parts: the other .md files beside it, read one by one
    SKILLS_DIR/research/sources.md

Rule: as with agents, a broken or duplicate skill stops start-up; nothing is skipped in silence.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from app.agents.contract import AgentBroken
from app.agents.house import Skill
from app.agents.skills.front_matter import FrontMatter, FrontMatterBroken, Value, read_front_matter

SHIPPED = Path(__file__).with_name("shipped")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
DESCRIPTION_LIMIT_CHARS = 1_024
TEXT_LIMIT_CHARS = 64 * 1024
PARTS_LIMIT = 32
SKILLS_LIMIT = 200
_KNOWN = ("name", "description", "agent", "model", "tools")
# what the format has for other programs, and what means nothing here
_LET_PASS = ("license", "compatibility", "metadata", "version")


class SkillBroken(AgentBroken):
    """A skill cannot be used, so the program does not start; `where` is its file, with the line where there is one."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """By name, in the order of the names."""

    skills: Mapping[str, Skill] = field(default_factory=dict)

    @classmethod
    def load(cls, *folders: Path) -> "Catalogue":
        """Read every skill of these folders. Errors: SkillBroken: the first that is met."""
        found: dict[str, Skill] = {}
        for folder in folders:
            for file in _files(folder):
                skill = _read(file)
                if (first := found.setdefault(skill.name, skill)) is not skill:
                    reason = f"there is already a skill {skill.name!r}, in {first.where}; give one of them another name"
                    raise SkillBroken(skill.where, reason)
                if len(found) > SKILLS_LIMIT:
                    raise SkillBroken(str(folder), f"there are more than {SKILLS_LIMIT} skills")
        return cls(MappingProxyType({name: found[name] for name in sorted(found)}))

    def check(self, agents: Sequence[str]) -> None:
        """See that skills fit the agents there are. Errors: SkillBroken."""
        for skill in self.skills.values():
            if skill.name in agents:
                raise SkillBroken(skill.where, f"there is an agent {skill.name!r}; give the skill another name")
            if skill.agent is not None and skill.agent not in agents:
                raise SkillBroken(skill.where, f"there is no agent {skill.agent!r}; there are: {', '.join(agents)}")


def _files(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise SkillBroken(str(folder), f"cannot be read ({error.strerror}); mend SKILLS_DIR") from error
    for entry in entries:
        if entry.name.startswith((".", "_")) or entry.name.upper() == "README.MD":
            continue
        if entry.is_dir():
            file = entry / "SKILL.md"
            if not file.is_file():
                raise SkillBroken(str(entry), "has no SKILL.md; a folder that is no skill starts with an underscore")
            yield file
        elif entry.suffix == ".md":
            yield entry


def _read(file: Path) -> Skill:
    where = str(file)
    try:
        matter = read_front_matter(_text(file))
    except FrontMatterBroken as broken:
        raise SkillBroken(where, str(broken)) from broken
    own_name = file.parent.name if file.name == "SKILL.md" else file.stem
    unknown = [key for key in matter.values if key not in (*_KNOWN, *_LET_PASS)]
    if unknown:
        raise _at(where, matter, unknown[0], f"is not a key of a skill; there are: {', '.join(_KNOWN)}")
    name = _one(where, matter, "name") or own_name
    if not NAME.fullmatch(name):
        raise _at(where, matter, "name", f"{name!r} is not of the form {NAME.pattern}")
    description = " ".join((_one(where, matter, "description") or "").split())
    if not 0 < len(description) <= DESCRIPTION_LIMIT_CHARS:
        mend = (
            f"say in at most {DESCRIPTION_LIMIT_CHARS} characters what it is for: it is all that a model sees at first"
        )
        raise _at(where, matter, "description", mend)
    if not matter.body:
        raise SkillBroken(where, "has no text behind its front matter")
    return Skill(
        name=name,
        description=description,
        text=matter.body,
        agent=_one(where, matter, "agent"),
        model=_one(where, matter, "model"),
        tools=_many(matter.values.get("tools", ())),
        parts=_parts(file),
        where=where,
    )


def _parts(file: Path) -> Mapping[str, str]:
    if file.name != "SKILL.md":
        return {}
    others = [one for one in sorted(file.parent.rglob("*.md")) if one != file]
    if len(others) > PARTS_LIMIT:
        raise SkillBroken(str(file), f"has more than {PARTS_LIMIT} other .md files beside it")
    return {one.relative_to(file.parent).as_posix(): _text(one) for one in others}


def _text(file: Path) -> str:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SkillBroken(str(file), "is not UTF-8") from error
    except OSError as error:
        raise SkillBroken(str(file), f"cannot be read ({error.strerror})") from error
    if len(text) > TEXT_LIMIT_CHARS:
        raise SkillBroken(str(file), f"is longer than {TEXT_LIMIT_CHARS} characters")
    return text


def _one(where: str, matter: FrontMatter, key: str) -> str | None:
    value = matter.values.get(key)
    if isinstance(value, tuple):
        raise _at(where, matter, key, "must be one text")
    return value or None


def _many(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else tuple(value.replace(",", " ").split())


def _at(where: str, matter: FrontMatter, key: str, reason: str) -> SkillBroken:
    line = f":{matter.lines[key]}" if key in matter.lines else ""
    return SkillBroken(f"{where}{line}", f"{key}: {reason}")
