"""What must be kept so that it can be read again, but is nobody's to read in a table, a dump or a backup: sealed.

What lives here: the port, and how keys are written. What does not: the cipher (`infra/db/sealing.py`).
"""

import base64
import binascii
from typing import Protocol

from app.kernel.errors import Unavailable

KEY_BYTES = 32


class SealBroken(Unavailable):
    """It was sealed with a key that this process does not have, or was changed since."""

    type = "secret-unreadable"
    title = "A secret that is needed cannot be read here"


class Seal(Protocol):
    """`what` names the thing and its owner; what was sealed under one name does not open under another."""

    def close(self, plain: bytes, *, what: str) -> bytes:
        """Seal. Errors: SealBroken, where the key can neither be read nor made."""
        ...

    def open(self, sealed: bytes, *, what: str) -> bytes:
        """Errors: SealBroken."""
        ...


def read_keys(written: str) -> tuple[bytes, ...]:
    """Read keys as they stand in `SECRETS_KEY`: 32 bytes each in base64, commas between. Errors: ValueError."""
    keys = []
    for one in filter(None, (part.strip() for part in written.split(","))):
        try:
            key = base64.b64decode(one, validate=True)
        except binascii.Error as error:
            raise ValueError("is not base64") from error
        if len(key) != KEY_BYTES:
            raise ValueError(f"must be {KEY_BYTES} bytes in base64, as `openssl rand -base64 {KEY_BYTES}` writes them")
        keys.append(key)
    return tuple(keys)
