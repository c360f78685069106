"""How each program is told where to listen and where to keep its files: flags first, environment second."""

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """What every program of the fleet needs to know.

    Shapes/units: `fd` is an already listening socket inherited from the parent and replaces host and port;
    `parent` is the process with which this one ends.
    """

    name: str
    host: str
    port: int
    fd: int | None
    data_dir: Path
    parent: int | None


def parser(name: str, *, port: int, description: str) -> ArgumentParser:
    """Build the flags all programs share; a string default from the environment is checked like a flag."""
    flags = ArgumentParser(prog=f"python -m portico_fleet.{name}", description=description)
    flags.set_defaults(name=name)
    flags.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="address to listen on (env HOST)")
    flags.add_argument("--port", type=int, default=os.environ.get("PORT", str(port)), help=f"env PORT, else {port}")
    flags.add_argument("--fd", type=int, help="listening socket inherited from the parent, instead of host and port")
    flags.add_argument("--data-dir", type=Path, default=_default_data_dir(), help="where the files go (env DATA_DIR)")
    flags.add_argument("--exit-with-parent", action="store_true", help="stop when the process that started this ends")
    return flags


def read(arguments: Namespace) -> Options:
    return Options(
        name=arguments.name,
        host=arguments.host,
        port=arguments.port,
        fd=arguments.fd,
        data_dir=arguments.data_dir,
        parent=_parent() if arguments.exit_with_parent else None,
    )


def _parent() -> int:
    """Name the parent. One that tells us its pid beforehand may die while we start and is still missed."""
    told = os.environ.get("PORTICO_PARENT_PID", "")
    return int(told) if told.isdecimal() else os.getppid()


def _default_data_dir() -> str:
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return os.environ.get("DATA_DIR") or str(Path(home) / "portico" / "fleet")
