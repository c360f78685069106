"""How `portico backup` and `portico restore` are written; nothing heavy is imported before one of them is chosen."""

import argparse
from pathlib import Path

WORDS = {"backup": "write chats, messages, tasks and finished runs into an archive", "restore": "bring an archive back"}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for action, words in WORDS.items():
        command = commands.add_parser(action, help=words)
        command.add_argument("file", metavar="FILE", type=Path)
        command.set_defaults(run=_run, action=action)


def _run(chosen: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from app.surfaces.cli import backup  # noqa: PLC0415

    asyncio.run((backup.save if chosen.action == "backup" else backup.bring_back)(chosen.file))
    return 0
