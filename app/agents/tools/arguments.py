"""Who says what a tool is called with: the tool's own overrides over the agent's over the model.

An overridden argument is not in the schema the model sees, and what a model says of it is dropped before anybody looks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.agents.contract import Overrides, Tool, Turn
from app.kernel.values import Json


def overridden(tool: Tool, by_agent: Overrides) -> Tool:
    """Put the agent's overrides under the tool's own, and take both out of what the model sees."""
    overrides = {**by_agent, **tool.traits.overrides}
    if not overrides:
        return tool
    return Tool(
        tool.name,
        tool.description,
        without(tool.parameters, frozenset(overrides)),
        tool.call,
        replace(tool.traits, overrides=overrides),
        tool.origin,
        tool.check,
        tool.is_the_clients,
    )


# Any: a JSON schema
def without(schema: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    """Take arguments out of a schema of an object."""
    left = {name: node for name, node in schema.get("properties", {}).items() if name not in names}
    asked = [name for name in schema.get("required", ()) if name not in names]
    rest = {key: node for key, node in schema.items() if key not in {"properties", "required"}}
    return {**rest, "properties": left, **({"required": asked} if asked else {})}


def own_arguments(tool: Tool, said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Give what a model, or whoever edits its call, has a say in."""
    return {name: value for name, value in said.items() if name not in tool.traits.overrides}


def checked(tool: Tool, said: Mapping[str, Json], turn: Turn) -> Mapping[str, Any]:  # Any: as the tool's schema says
    """Give what the tool is called with. Errors: ValueError, in words for the model."""
    fixed = {name: value(turn) if callable(value) else value for name, value in tool.traits.overrides.items()}
    return tool.check({**own_arguments(tool, said), **fixed})
