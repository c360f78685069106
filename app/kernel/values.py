"""Values that cross every border unchanged."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None
"""What JSON can say (RFC 8259)."""


class Kept(Enum):
    """What a change says of a field it leaves alone, where None is a value."""

    KEPT = auto()


KEPT = Kept.KEPT
