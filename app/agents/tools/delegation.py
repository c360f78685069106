"""Other agents, and skills that are done by one, as tools: `run_agent`, and `agent_result` for what goes on beside.

    agent = Agent(name="lead", ..., tools=[Delegation()])                   # whoever there is
    agent = Agent(name="editor", ..., tools=[Delegation("agenda", "proofread")])

What lives here: what a model is told of them, and what it may say. How such a call is made is `errands.py`'s.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from app.agents.contract import Asked, Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.errands import Errand
from app.agents.house import Skill
from app.agents.tools.errands import ORIGIN, RESULT, RUN, Wanted
from app.kernel.ids import RunId
from app.kernel.values import Json

PROMPT_LIMIT_CHARS = 32_000
LONGEST_S = 3_600
_TRAITS = Traits(risk=Risk.WRITES_INSIDE)  # what the other one does is judged where it does it
_DESCRIPTION = (
    "Have another agent do a piece of work, and get its answer. It knows nothing of this conversation: say all that it "
    "needs in the prompt. Several calls in one answer work side by side. With background it goes on while you do, and "
    f"{RESULT} gives its answer; it is stopped when you give yours. There are:\n"
)


class Delegation:
    """Implements `ToolSource`; offers nothing where nobody may be asked: outside of a run, or as deep as it goes."""

    def __init__(self, *names: str) -> None:
        """Offer the agents and skills of these names; all there are, if none is named."""
        self._names = frozenset(names)

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        house = asked.house
        agents = {name: about for name, about in house.agents.items() if self._offers(name)}
        skills = {name: skill for name, skill in house.skills.items() if self._offers(name)}
        if asked.turn.caller.acting is None or asked.turn.depth >= house.depth_limit or not (agents or skills):
            return ()
        return _run_tool(agents, skills, by=asked.agent.name), _result_tool()

    def _offers(self, name: str) -> bool:
        return not self._names or name in self._names


def _run_tool(agents: Mapping[str, str], skills: Mapping[str, Skill], *, by: str) -> Tool:
    said = {**agents, **{name: f"(skill) {skill.description}" for name, skill in skills.items()}}
    lines = [f"- {name}: {' '.join(about.split())}" for name, about in said.items()]

    def check(arguments: Mapping[str, Json]) -> Mapping[str, Any]:
        return {"wanted": _wanted(arguments, said.keys(), skills, by=by)}

    parameters = {
        "type": "object",
        "properties": {
            "agent": {"type": "string", "enum": list(said), "description": "The agent or the skill."},
            "prompt": {"type": "string", "maxLength": PROMPT_LIMIT_CHARS, "description": "What it is to do."},
            "background": {"type": "boolean", "description": "Go on at once, without its answer."},
            "timeout_s": {
                "type": "number",
                "minimum": 1,
                "maximum": LONGEST_S,
                "description": "How long it may take at most, in seconds.",
            },
        },
        "required": ["agent", "prompt"],
        "additionalProperties": False,
    }
    return Tool(RUN, _DESCRIPTION + "\n".join(lines), parameters, _elsewhere, _TRAITS, ORIGIN, check)


def _result_tool() -> Tool:
    parameters = {
        "type": "object",
        "properties": {"run_id": {"type": "string", "description": f"As {RUN} gave it."}},
        "required": ["run_id"],
        "additionalProperties": False,
    }
    description = f"Wait for the answer of an agent that was begun with {RUN} in the background."
    return Tool(RESULT, description, parameters, _elsewhere, _TRAITS, ORIGIN, _run_id)


# Any: what the calls are made with
def _wanted(said: Mapping[str, Json], known: Any, skills: Mapping[str, Skill], *, by: str) -> Wanted:
    """Errors: ValueError, for the model."""
    unknown = sorted(said.keys() - {"agent", "prompt", "background", "timeout_s"})
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is no argument")
    name, prompt = said.get("agent"), said.get("prompt")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"there is no agent {name!r}; there are: {', '.join(known)}")
    if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > PROMPT_LIMIT_CHARS:
        raise ValueError(f"say in prompt what is to be done, in at most {PROMPT_LIMIT_CHARS} characters")
    background, timeout_s = said.get("background") or False, said.get("timeout_s")
    if not isinstance(background, bool):
        raise ValueError("background is true or false")  # noqa: TRY004 - what is told to the model
    if timeout_s is not None and (
        isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 1 <= timeout_s <= LONGEST_S
    ):
        raise ValueError(f"timeout_s is a number of seconds from 1 to {LONGEST_S}")
    skill = skills.get(name)
    agent = name if skill is None else skill.agent or by
    errand = Errand(agent, prompt, "" if skill is None else name, None if timeout_s is None else float(timeout_s))
    return Wanted(errand, is_background=background)


def _run_id(said: Mapping[str, Json]) -> Mapping[str, Any]:
    """Errors: ValueError, for the model."""
    try:
        return {"run_id": RunId(UUID(str(said.get("run_id"))))}
    except ValueError:
        raise ValueError(f"give the run_id that {RUN} gave") from None


async def _elsewhere(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
    del ctx, arguments
    raise ToolRefused("Only a turn can hand work on.")
