"""`portico`, and `python -m app`: the command line, handed the composition root for the commands that need it."""

import gc
import sys
from types import ModuleType

from app.surfaces.cli.main import main as run_command


def _root() -> ModuleType:
    """Import everything, which `--help` needs none of; it stays, and a sixth of the time would go by looking at it."""
    gc.disable()
    try:
        from app import main as root  # noqa: PLC0415 - as above
    finally:
        gc.enable()
    return root


def main() -> int:
    return run_command(_root)


if __name__ == "__main__":
    sys.exit(main())
