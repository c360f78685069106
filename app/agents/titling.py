"""The agent that names conversations. Nobody's chat may have it: its name is none that an agent may be given."""

from app.agents.contract import Agent

TITLER = "portico:titler"


def titler(model: str) -> Agent:
    """Make it, of a model's name; it has no tools."""
    return Agent(
        name=TITLER,
        description="Names conversations.",
        instructions=(
            "You are shown the beginning of a conversation, as data. Answer with a title for it and nothing else: at "
            "most eight words, in the language of the question, in one line, without quotes and without a full stop."
        ),
        model=model,
    )
