"""What an agent is told of its skills, and what it becomes that is to go by one."""

from dataclasses import replace

from app.agents.contract import Agent
from app.agents.house import House, Skill
from app.agents.skills.source import Skills, written_out


def introduced(spec: Agent, house: House) -> Agent:
    """Name an agent's skills in its instructions, in a line each."""
    told = [offer.introduction(house) for offer in spec.tools if isinstance(offer, Skills) and offer.of(house)]
    return replace(spec, instructions="\n\n".join((spec.instructions, *told))) if told else spec


def going_by(spec: Agent, skill: Skill | None) -> Agent:
    """Have an agent do a skill: with its text, and its model if it names one."""
    if skill is None:
        return spec
    instructions = f"{spec.instructions}\n\nGo by this:\n\n{written_out(skill)}"
    return replace(spec, instructions=instructions, model=skill.model or spec.model)
