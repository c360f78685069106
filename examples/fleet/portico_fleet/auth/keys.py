"""The keys access tokens are signed with: the newest signs, older ones stay published until their tokens expired."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

_PUBLISHED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    private: RSAPrivateKey

    @property
    def jwk(self) -> dict[str, str | list[str]]:
        return {**_thumbprint_members(self.private.public_key()), **_meaning(self.kid)}


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys in the order they were made."""

    keys: tuple[SigningKey, ...]

    @property
    def newest(self) -> SigningKey:
        return self.keys[-1]

    def public(self, kid: str) -> RSAPublicKey | None:
        return next((key.private.public_key() for key in self.keys if key.kid == kid), None)

    def jwks(self) -> dict[str, list[dict[str, str | list[str]]]]:
        return {"keys": [key.jwk for key in reversed(self.keys)]}


def load_keys(folder: Path, *, rotate: bool) -> KeyRing:
    """Read the keys of `folder`, making one when there is none or `rotate` asks for a new one.

    Cost: about 0.2 s for a new RSA key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = sorted(folder.glob("[0-9]*.pem"))
    if rotate or not files:
        files.append(_write_new(folder, number=int(files[-1].stem) + 1 if files else 1))
    return KeyRing(keys=tuple(_read(file) for file in files[-_PUBLISHED_AT_MOST:]))


def _write_new(folder: Path, *, number: int) -> Path:
    pem = generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    file, unfinished = folder / f"{number:06}.pem", folder / f".{number:06}.new"
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:  # noqa: PTH123 -- of a descriptor
        target.write(pem)
    return unfinished.rename(file)  # a crash half-way leaves no half key


def _read(file: Path) -> SigningKey:
    private = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(private, RSAPrivateKey):
        message = f"{file} holds no RSA key"
        raise TypeError(message)
    members = json.dumps(_thumbprint_members(private.public_key()), sort_keys=True, separators=(",", ":"))
    return SigningKey(kid=_base64url(hashlib.sha256(members.encode()).digest()), private=private)


def _thumbprint_members(public: RSAPublicKey) -> dict[str, str]:
    """Source: RFC 7638 §3.2, the members a key's thumbprint is taken of."""
    numbers = public.public_numbers()
    return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}


def _meaning(kid: str) -> dict[str, str | list[str]]:
    return {"kid": kid, "use": "sig", "alg": "RS256", "key_ops": ["verify"]}


def _number(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
