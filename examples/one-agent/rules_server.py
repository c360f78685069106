"""An MCP server of the agent's, over stdio, made with the official SDK (`pip install mcp`)."""

import mcp_types
from mcp.server.mcpserver import MCPServer

RULES = {"craps": "Seven or eleven wins at once.", "yahtzee": "Five of a kind are fifty points."}

server = MCPServer("rules", log_level="ERROR")


@server.tool(annotations=mcp_types.ToolAnnotations(read_only_hint=True))
def rule_of(game: str) -> str:
    """Tell the most important rule of a game."""
    return RULES.get(game.lower(), "There is no rule but to be kind.")


if __name__ == "__main__":
    server.run()
