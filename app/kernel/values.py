"""Values that cross every border unchanged."""

from collections.abc import Mapping, Sequence

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None
"""What JSON can say (RFC 8259)."""
