"""Where the program keeps its files when nobody says where."""

import os
import sys
from pathlib import Path


def default_data_dir() -> Path:
    """Find the user's data directory; root's is /var/lib, since the database runs there as another account."""
    if os.geteuid() == 0:
        return Path("/var/lib/portico")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "portico"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "portico"
