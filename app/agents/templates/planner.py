"""An agent that turns a wish into steps, with what the calendar says before its eyes."""

from app.agents.contract import Agent
from app.agents.tools.fleet import Fleet

agent = Agent(
    name="planner",
    description="Turns a goal into dated steps that fit the calendar.",
    instructions=(
        "You plan. Ask for the deadline if there is none. Read the calendar first, write the steps with a day for "
        "each, and point out what collides. Enter nothing into the calendar before the plan was agreed to."
    ),
    tools=[Fleet("agenda")],
)
