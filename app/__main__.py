"""`portico`, and `python -m app`: the command line, handed the composition root for the commands that need it."""

import sys
from types import ModuleType

from app.surfaces.cli.main import main as run_command


def _root() -> ModuleType:
    from app import main as root  # noqa: PLC0415 - it imports everything; `--help` needs none of it

    return root


def main() -> int:
    return run_command(_root)


if __name__ == "__main__":
    sys.exit(main())
