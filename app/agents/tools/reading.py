"""Which tools change nothing: all that an agent is given where its caller may not change anything, as an anonymous
visitor may not.
"""

from collections.abc import Iterator

from app.agents.contract import Agent, Offer, Responder, Risk, Tool, ToolSource, name_of, traits_of


def only_reads(tool: Tool) -> bool:
    return tool.traits.risk is Risk.READS and not tool.is_the_clients


def writing_offers(member: Agent | Responder) -> Iterator[str]:
    """Name, in words, what an agent is offered that may change something, or of which nobody knows whether it does."""
    if not isinstance(member, Agent):
        return
    for offer in member.tools:
        if isinstance(offer, ToolSource):
            yield f"what {type(offer).__name__} gives it"
        elif _may_write(offer):
            yield name_of(offer)
    yield from (f"the MCP server {name}" for name in member.mcp_servers)


def _may_write(offer: Offer) -> bool:
    if isinstance(offer, Tool):
        return not only_reads(offer)
    return not isinstance(offer, ToolSource) and traits_of(offer).risk is not Risk.READS
