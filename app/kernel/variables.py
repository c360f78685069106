"""`${VAR}` in the texts of a table: what stands for it in the environment, or in what else is given."""

import os
import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_variables(row: dict[str, Any], others: Mapping[str, object]) -> set[str]:
    """Replace variables in a row in place, by the environment, else by `others`, whose names are in lower case.

    Tell which are not set, or empty. Any: a row is what TOML knows, which nobody has checked yet.
    """
    missing: set[str] = set()

    def read(match: re.Match[str]) -> str:
        value = os.environ.get(match[1]) or others.get(match[1].lower())
        if not value:
            missing.add(match[1])
        return str(value or "")

    for key, value in row.items():
        if isinstance(value, str):
            row[key] = _VARIABLE.sub(read, value)
        elif isinstance(value, list):
            row[key] = [_VARIABLE.sub(read, one) if isinstance(one, str) else one for one in value]
    return missing
