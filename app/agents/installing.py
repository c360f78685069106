"""Agents that are shipped as examples, put where the operator keeps agents of his own (`AGENTS_DIR`).

Rule: only files of the package are written, under their own names, and none that is there is touched: whoever may call
this can say which, never what is in them.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.kernel.errors import Conflict, FieldError, Forbidden, ValidationFailed
from app.kernel.identity import Principal

TEMPLATES = Path(__file__).with_name("templates")


class NoAgentsFolder(Conflict):
    type = "no-agents-folder"
    title = "No folder is set for agents to be installed in"


@dataclass(frozen=True, slots=True)
class Installed:
    """`kept` were there already, and were not changed."""

    folder: str
    installed: Sequence[str]
    kept: Sequence[str]


def template_names() -> Sequence[str]:
    return sorted(file.stem for file in TEMPLATES.glob("[!_]*.py"))


@dataclass(frozen=True, slots=True)
class InstallTemplates:
    """They are found at the next start. Errors: Forbidden, ValidationFailed, NoAgentsFolder."""

    folder: Path | None

    async def __call__(self, who: Principal, names: Sequence[str]) -> Installed:
        if not who.is_admin or who.acting is not None:
            raise Forbidden("Only an admin may do this, and no agent.")
        known = template_names()
        if unknown := sorted(set(names) - set(known)):
            wrong = f"there is no {', '.join(unknown)}; there are: {', '.join(known)}"
            raise ValidationFailed("Some arguments are not valid.", errors=[FieldError("names", wrong)])
        if self.folder is None:
            raise NoAgentsFolder("Set AGENTS_DIR to a folder that the gateway may write to, and start it again.")
        return await asyncio.to_thread(_install, self.folder, list(dict.fromkeys(names)) or known)


def _install(folder: Path, names: Sequence[str]) -> Installed:
    """Errors: NoAgentsFolder."""
    installed, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            try:
                target = os.open(folder / f"{name}.py", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                kept.append(name)
                continue
            with os.fdopen(target, "wb") as file:
                file.write((TEMPLATES / f"{name}.py").read_bytes())
            installed.append(name)
    except OSError as error:
        raise NoAgentsFolder(f"AGENTS_DIR cannot be written to: {error.strerror}.") from error
    return Installed(str(folder), installed, kept)
