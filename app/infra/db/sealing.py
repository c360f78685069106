"""Values that are kept sealed: AES-256-GCM under a key that is never in the database.

Facts
- The key is `SECRETS_KEY`, of which the first seals and all open, so that one can be replaced by another; else it is a
  file of the data folder that only its owner may read, made when it is first needed.
- AES-GCM fails to open what was changed by a bit, or is opened under another name (NIST SP 800-38D); a nonce of 96
  random bits is good for 2^32 values under one key.
- Whoever has the table without the key has nothing; whoever has both has everything.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.kernel.sealing import KEY_BYTES, SealBroken, read_keys

KEY_FILE = "secrets.key"
MEND = "SECRETS_KEY must be the one it was sealed with, or stand behind a comma as an older one"
_VERSION: Final = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12


def keys_of_folder(folder: Path) -> tuple[bytes, ...]:
    """Read the key of a data folder, and make it where there is none; of many that make one, one wins.

    Errors: OSError, ValueError.
    """
    file = folder / KEY_FILE
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f"{KEY_FILE}.{secrets.token_hex(8)}"
        handle = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as writing:
            writing.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)))
            writing.flush()
            os.fsync(writing.fileno())
        try:
            os.link(mine, file)
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    return read_keys(file.read_text("ascii"))


class AesSeal:
    """Concurrency: any; the keys are read when they are first needed, and kept."""

    def __init__(self, read: Callable[[], Sequence[bytes]]) -> None:
        self._read = read
        self._keys: Mapping[bytes, bytes] = {}

    def close(self, plain: bytes, *, what: str) -> bytes:
        key_id, key = next(iter(self._ring().items()))
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + key_id + nonce + AESGCM(key).encrypt(nonce, plain, what.encode())

    def open(self, sealed: bytes, *, what: str) -> bytes:
        head, rest = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES :]
        key = self._ring().get(head[1:])
        if head[:1] != _VERSION or key is None:
            raise SealBroken(evidence={"what": what, "mend": MEND})
        try:
            return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], what.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(evidence={"what": what, "mend": "it was changed since it was sealed"}) from error

    def _ring(self) -> Mapping[bytes, bytes]:
        """Errors: SealBroken."""
        if not self._keys:
            try:
                keys = self._read()
            except (OSError, ValueError) as error:
                raise SealBroken(evidence={"mend": f"the key cannot be read: {error}"}) from error
            if not keys:
                raise SealBroken(evidence={"mend": "the file of the key is empty"})
            self._keys = {hashlib.sha256(key).digest()[:_ID_BYTES]: key for key in keys}
        return self._keys
