"""Start a program quickly: what it does not use is not imported."""

import sys
from importlib import import_module


def launch(program: str) -> None:
    """Import a program's module and run its `main`.

    Cost: Litestar imports advanced-alchemy, and with it SQLAlchemy and pydantic, wherever they are installed, for a
    class the fleet does not use: 2.2 of 2.9 seconds. None in `sys.modules` makes that import fail, which Litestar
    expects. Only a process of its own may do this.
    """
    sys.modules.setdefault("advanced_alchemy", None)  # type: ignore[arg-type]
    import_module(program).main()
