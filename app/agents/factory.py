"""Finds the agents: a file in `app/agents/library/` or in the operator's folder (`AGENTS_DIR`) registers them, or an
entry point of the group `portico.agents`.

Which names of a module count, in the order they stand there; names that start with `_` never do:
    1. an `Agent`, wherever it was made;
    2. an instance of a class with `generate`, wherever the class is from;
    3. a class with `generate` that this module defines, unless (2) already gave an instance of it; it is called without
       arguments.
A module whose own name starts with `_` is not looked at; any other must hold at least one agent.
Rule: a broken or duplicate agent stops start-up; nothing is skipped in silence.
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import get_type_hints

from app.agents.contract import (
    Agent,
    AgentBroken,
    AgentDuplicate,
    Responder,
    Tool,
    ToolContext,
    ToolFunction,
    ToolSource,
    name_of,
)
from app.agents.tools.toolbox import RESERVED

LIBRARY = "app.agents.library"
ENTRY_POINT_GROUP = "portico.agents"
FOLDER_PREFIX = "portico_agents_"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")

type Member = Agent | Responder


@dataclass(frozen=True, slots=True)
class AgentFactory:
    """The agents there are, by name, in the order of their names."""

    agents: Mapping[str, Member]

    @classmethod
    def discover(
        cls, *, library: str = LIBRARY, installed: Iterable[EntryPoint] | None = None, folder: Path | None = None
    ) -> "AgentFactory":
        """Import every module of the library and of the folder, and every entry point; collect what they define.

        Errors: AgentBroken, AgentDuplicate: the first that is met, in the order of the modules' names.
        """
        return cls._of((*_in_library(library), *_in_folder(folder), *_installed(installed)))

    @classmethod
    def of(cls, *members: Member, where: str) -> "AgentFactory":
        """Take these and no others. Errors: AgentBroken, AgentDuplicate."""
        return cls._of((where, member) for member in members)

    @classmethod
    def _of(cls, members: Iterable[tuple[str, Member]]) -> "AgentFactory":
        found: dict[str, tuple[str, Member]] = {}
        for where, member in members:
            name = _checked(where, member)
            first = found.setdefault(name, (where, member))
            if first[1] is not member:
                raise AgentDuplicate(where, name=name, first=first[0])
        return cls(MappingProxyType({name: found[name][1] for name in sorted(found)}))


def _in_library(package_name: str) -> Iterator[tuple[str, Member]]:
    # the package's own path, never the working directory: what lies beside the operator's shell is not an agent
    package = importlib.import_module(package_name)
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.name.startswith("_"):
            where = _file_of(f"{package_name}.{info.name}")
            yield from _members(where, _load(where, f"{package_name}.{info.name}"))


def _in_folder(folder: Path | None) -> Iterator[tuple[str, Member]]:
    """Import each file of the folder under a name that no package has; one that was imported is the same again."""
    for file in sorted(folder.glob("[!_]*.py")) if folder is not None else ():
        name = f"{FOLDER_PREFIX}{hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:16]}_{file.stem}"
        spec = importlib.util.spec_from_file_location(name, file)
        if name not in sys.modules and spec is not None:
            sys.modules[name] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(sys.modules[name])  # type: ignore[union-attr] # a file's spec has one
            except (Exception, SystemExit) as error:  # as in _load
                del sys.modules[name]
                raise AgentBroken(str(file), _blame(str(file), error)) from error
        yield from _members(str(file), sys.modules[name])


def _installed(points: Iterable[EntryPoint] | None) -> Iterator[tuple[str, Member]]:
    chosen = entry_points(group=ENTRY_POINT_GROUP) if points is None else points
    for point in sorted(chosen, key=lambda point: (point.name, point.value)):
        where = f"entry point {point.name} = {point.value}"
        module = _load(where, point.module)
        if not point.attr:
            yield from _members(where, module)
            continue
        member = _member(where, _attribute(where, module, point.attr))
        if member is None:
            raise AgentBroken(where, f"{point.attr} is neither an Agent nor a class with `generate`")
        yield where, member


def _file_of(module_name: str) -> str:
    spec = importlib.util.find_spec(module_name)
    return spec.origin if spec and spec.origin else module_name


def _load(where: str, module_name: str) -> ModuleType:
    """Import a module, and say of one that cannot be imported which of its lines is to blame."""
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a file can raise anything; the cause stays attached
        raise AgentBroken(where, _blame(where, error)) from error


def _attribute(where: str, module: ModuleType, path: str) -> object:
    found: object = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise AgentBroken(where, f"{module.__name__} has no {path!r}")
        found = getattr(found, part)
    return found


def _blame(where: str, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where]
    at = f"line {lines[-1]}: " if lines and lines[-1] else ""
    return f"{at}{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def _members(where: str, module: ModuleType) -> Sequence[tuple[str, Member]]:
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    ready = [value for value in public.values() if not inspect.isclass(value)]
    members = [member for value in ready if (member := _member(where, value)) is not None]
    kinds = {type(member) for member in members}
    for value in public.values():
        if inspect.isclass(value) and value.__module__ == module.__name__ and value not in kinds:
            member = _member(where, value)
            members += [] if member is None else [member]
    if not members:
        mend = "a file that is not meant to be one starts with an underscore"
        raise AgentBroken(where, f"defines no agent; {mend}")
    return [(where, member) for member in members]


def _member(where: str, value: object) -> Member | None:
    if isinstance(value, Agent):
        return value
    if not callable(getattr(value, "generate", None)) or inspect.ismodule(value):
        return None
    if inspect.isclass(value):
        value = _instance(where, value)
    if not isinstance(value, Responder):
        raise AgentBroken(where, f"{type(value).__name__} has generate, but no name")
    return value


def _instance(where: str, made: type[object]) -> object:
    try:
        return made()
    except (Exception, SystemExit) as error:  # as in _load
        raise AgentBroken(where, f"{made.__name__}() failed: {_blame(where, error)}") from error


def _checked(where: str, member: Member) -> str:
    name: object = member.name
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise AgentBroken(where, f"the name {name!r} is not of the form {NAME.pattern}")
    if isinstance(member, Agent):
        tools = [offer for offer in member.tools if not isinstance(offer, ToolSource)]
        for tool in tools:
            if not isinstance(tool, Tool):
                _check_function(where, tool)
        names = [name_of(tool) for tool in tools]
        if taken := sorted(RESERVED & set(names)):
            raise AgentBroken(
                where, f"the agent {member.name!r} has a tool named {', '.join(taken)}, as one of ours is"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise AgentBroken(where, f"the agent {member.name!r} has two tools of the name {', '.join(twice)}")
    return name


def _check_function(where: str, tool: ToolFunction) -> None:
    """Hold a tool to `async def tool(ctx: ToolContext, ...)` with a docstring, which is what its model reads."""
    name = getattr(tool, "__name__", repr(tool))
    if not inspect.iscoroutinefunction(tool):
        raise AgentBroken(where, f"the tool {name} is not an `async def`")
    if not (tool.__doc__ or "").strip():
        raise AgentBroken(where, f"the tool {name} has no docstring, so no model can know what it is for")
    try:
        hints = get_type_hints(tool)
    except NameError as error:
        raise AgentBroken(where, f"the tool {name} has a type that cannot be read: {error}") from error
    first, *others = [*inspect.signature(tool).parameters, ""]
    if hints.get(first) is not ToolContext:
        raise AgentBroken(where, f"the first parameter of the tool {name} is not a ToolContext")
    bare = [other for other in others if other and other not in hints]
    if bare:
        raise AgentBroken(where, f"the tool {name} does not say the type of {', '.join(bare)}")
