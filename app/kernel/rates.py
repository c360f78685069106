"""How a rate is written wherever an operator writes one: `COUNT/PERIOD`, as in "100/minute"."""

import re

PERIODS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
MAX_COUNT = 1_000_000
HOW_TO_WRITE = f'write COUNT/PERIOD, e.g. "100/minute"; up to {MAX_COUNT} per {", ".join(PERIODS_S)}'

_WRITTEN = re.compile(rf"([1-9][0-9]{{0,6}})/({'|'.join(PERIODS_S)})")


def rate_of(text: str) -> tuple[int, int] | None:
    """Give the count and the seconds of its period; None for what is no rate."""
    found = _WRITTEN.fullmatch(text)
    if found is None or int(found[1]) > MAX_COUNT:
        return None
    return int(found[1]), PERIODS_S[found[2]]
