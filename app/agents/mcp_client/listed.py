"""A tool as its server lists it, and what we make of it: a name a model's provider takes, a risk, a time.

Rule: what a server says of its own tools is believed only where its entry says `trusted`; a warning is believed always.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.agents.contract import Risk, Traits
from app.agents.mcp_client.server import Server

NAME_LIMIT_CHARS = 64
"""the least that providers of models allow (OpenAI: 64 of letters, digits, "_" and "-")"""
_MARK_CHARS = 6
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class ListedTool:
    """What a server says of a tool; a hint it does not give is None."""

    name: str
    description: str
    schema: Mapping[str, Any]  # Any: a JSON schema
    reads_only: bool | None = None
    destroys: bool | None = None
    is_idempotent: bool | None = None


def name_for(server: Server, tool: str) -> str:
    """Give the name a model sees. One that had to be changed ends with a mark of what it was, so no two meet."""
    wanted = f"{server.prefix}{tool}"
    clean = _OTHER.sub("_", wanted)
    if clean == wanted and len(wanted) <= NAME_LIMIT_CHARS:
        return wanted
    return marked(clean, server, tool)


def marked(name: str, server: Server, tool: str) -> str:
    """Give a name that no other tool of any server has."""
    mark = hashlib.sha256(f"{server.name}\0{tool}".encode()).hexdigest()[:_MARK_CHARS]
    return f"{name[: NAME_LIMIT_CHARS - _MARK_CHARS - 1]}_{mark}"


def traits_for(server: Server, tool: ListedTool) -> Traits:
    timeout_s = server.timeout_s(tool.name)
    if not server.row.trusted:
        risk = Risk.DESTROYS if tool.destroys else Risk.WRITES_OUTSIDE
        return Traits(risk, is_idempotent=False, timeout_s=timeout_s)
    if tool.reads_only:
        return Traits(Risk.READS, is_idempotent=True, timeout_s=timeout_s)
    risk = Risk.DESTROYS if tool.destroys else Risk.WRITES_OUTSIDE
    return Traits(risk, is_idempotent=bool(tool.is_idempotent), timeout_s=timeout_s)
