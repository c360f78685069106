"""Skills for an agent: one line each in its instructions, the text when it asks for it, and a small state of its own.

    agent = Agent(name="editor", ..., tools=[Skills()])                      # all there are
    agent = Agent(name="editor", ..., tools=[Skills("proofread")])

The state of a skill is a document of JSON of one thread (`Turn.own_thread`): a chat's is not seen in another.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.agents.contract import Asked, Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.house import NOTE_LIMIT_BYTES, House, NoteStale, Skill
from app.kernel.values import Json

LOAD = "load_skill"
READ_STATE = "read_skill_state"
WRITE_STATE = "write_skill_state"
NOTE = "skill:{}"
_OPENING = f"You have skills. Before you do what one of them is for, read it with {LOAD}. There are:"


class Skills:
    """Implements `ToolSource`."""

    def __init__(self, *names: str) -> None:
        """Offer the skills of these names; all there are, if none is named."""
        self._names = frozenset(names)

    def of(self, house: House) -> Mapping[str, Skill]:
        return {name: skill for name, skill in house.skills.items() if not self._names or name in self._names}

    def introduction(self, house: House) -> str:
        """Write what stands in the instructions: the same for every turn, so that a provider's cache keeps it."""
        skills = self.of(house)
        return "\n".join((_OPENING, *(f"- {name}: {skill.description}" for name, skill in skills.items())))

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        skills = self.of(asked.house)
        if not skills:
            return ()
        has_thread = bool(asked.turn.own_thread)
        return (_load_tool(skills), *((_read_tool(skills, asked), _write_tool(skills, asked)) if has_thread else ()))


def written_out(skill: Skill) -> str:
    """Give what an agent reads that is to go by a skill."""
    more = f"\n\nFurther parts, for {LOAD}: {', '.join(skill.parts)}" if skill.parts else ""
    return f"{skill.text}{more}"


def _load_tool(skills: Mapping[str, Skill]) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        del ctx
        skill, part = skills[arguments["name"]], arguments["part"]
        if not part:
            return written_out(skill)
        if part not in skill.parts:
            raise ToolRefused(f"The skill has no such part; it has: {', '.join(skill.parts) or 'none'}.")
        return skill.parts[part]

    part: dict[str, object] = {"type": "string", "description": "One of the further parts that its text names."}
    description = "Read how something is done, before you do it."
    parameters = _parameters(skills, ("name",), name={}, part=part)
    return Tool(LOAD, description, parameters, call, Traits(risk=Risk.READS), "skill", _checking(skills, part=""))


def _read_tool(skills: Mapping[str, Skill], asked: Asked) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        turn, name = ctx.turn, NOTE.format(arguments["name"])
        note = await asked.house.notes.read(turn.caller.user_id, turn.own_thread, name)
        return {"state": note.document, "revision": note.revision}

    description = "Read what was written down for a skill earlier in this conversation."
    parameters = _parameters(skills, ("name",), name={})
    return Tool(READ_STATE, description, parameters, call, Traits(risk=Risk.READS), "skill", _checking(skills))


def _write_tool(skills: Mapping[str, Skill], asked: Asked) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        turn, name, over = ctx.turn, NOTE.format(arguments["name"]), arguments["revision"]
        try:
            note = await asked.house.notes.write(
                turn.caller.user_id, turn.own_thread, name, arguments["state"], over=over
            )
        except NoteStale as stale:
            words = f"It was changed meanwhile and is at revision {stale.note.revision}; it says now: "
            raise ToolRefused(words + json.dumps(stale.note.document, ensure_ascii=False)) from stale
        return {"revision": note.revision}

    description = (
        "Write down the state of a skill for later in this conversation, in place of what is there. With the revision "
        "you read, nothing that was written meanwhile is lost."
    )
    state = {"type": "object", "description": f"At most {NOTE_LIMIT_BYTES // 1024} KB of JSON."}
    revision: dict[str, object] = {"type": "integer", "minimum": 0, "description": "As it was read."}
    parameters = _parameters(skills, ("name", "state"), name={}, state=state, revision=revision)
    return Tool(
        WRITE_STATE,
        description,
        parameters,
        call,
        Traits(risk=Risk.WRITES_INSIDE),
        "skill",
        _checking(skills, state=None, revision=None),
    )


def _parameters(
    skills: Mapping[str, Skill], required: Sequence[str], **properties: Mapping[str, object]
) -> Mapping[str, object]:
    names = {"type": "string", "enum": list(skills), "description": "The skill's."}
    return {
        "type": "object",
        "properties": {**properties, "name": names},
        "required": list(required),
        "additionalProperties": False,
    }


# Any: as the tools' schemas say
def _checking(skills: Mapping[str, Skill], **others: Json) -> Any:
    def check(said: Mapping[str, Json]) -> Mapping[str, Any]:
        name = said.get("name")
        if not isinstance(name, str) or name not in skills:
            raise ValueError(f"there is no skill {name!r}; there are: {', '.join(skills)}")
        if unknown := sorted(said.keys() - others.keys() - {"name"}):
            raise ValueError(f"{', '.join(unknown)} is no argument")
        found = {"name": name, **others, **{key: value for key, value in said.items() if value is not None}}
        if "part" in found and not isinstance(found["part"], str):
            raise ValueError("part is a text")
        if "state" in found:
            _check_state(found["state"], found["revision"])
        return found

    return check


def _check_state(state: Json, revision: Json) -> None:
    if not isinstance(state, Mapping):
        raise ValueError("state is an object of JSON")  # noqa: TRY004 - what is told to the model
    if len(json.dumps(state)) > NOTE_LIMIT_BYTES:
        raise ValueError(f"state is longer than {NOTE_LIMIT_BYTES} bytes; keep what matters")
    if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int)):
        raise ValueError("revision is a whole number")
