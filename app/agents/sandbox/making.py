"""Puts the sandbox together from what the operator says, in small values; `provider.py` knows the settings."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from app.agents.sandbox.bubblewrap import Bubblewrap
from app.agents.sandbox.docker import Docker
from app.agents.sandbox.monty import Monty
from app.agents.sandbox.ports import Backend, Limits
from app.agents.sandbox.sandbox import Sandbox

type Wanted = Literal["auto", "docker", "bubblewrap", "monty", "off"]

OFF = "the operator has turned it off (SANDBOX=off)"


def make_sandbox(
    wanted: Wanted,
    *,
    python: Path | None,
    image: str,
    runtime: str,
    limits: Limits,
    places: int,
    is_wanted: bool = True,
) -> Sandbox:
    """Give the sandbox with the backends it may choose from, the strongest first; one that is named stands alone."""
    backends: Sequence[Backend] = (Docker(image, runtime), Bubblewrap(python), Monty())
    if wanted == "off":
        return Sandbox((), limits, asyncio.Semaphore(places), off_because=OFF)
    chosen = [one for one in backends if wanted in ("auto", one.name)]
    return Sandbox(chosen, limits, asyncio.Semaphore(places), is_wanted=is_wanted)
