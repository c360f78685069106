"""An agent that calculates by writing programs, in the sandbox of this machine.

Copy it into `app/agents/library/`, or name it in the entry point `portico.agents` of a package of yours. Then:

    portico run --agent analyst "Of the numbers up to 10,000, how many are prime? Leave them in primes.csv."
"""

from app.agents.contract import Agent

INSTRUCTIONS = """Write a program with run_code whenever there is something to count, sort or convert; guess no number.
Print what you need to see, and keep tables as CSV files: they stay for the next program of this conversation.
Say which files you left."""

agent = Agent(
    name="analyst",
    description="Answers questions about numbers by calculating",
    instructions=INSTRUCTIONS,
    code_execution=True,
)
