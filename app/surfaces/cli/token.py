"""`portico token`: a token signed with the demo's own key, to try a role without registering anybody."""

import base64
import hashlib
import json
import secrets
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import RSAAlgorithm

from app.kernel.folders import default_data_dir
from app.surfaces.cli.command_failed import CommandFailed

ISSUER = "portico-demo-auth"
AUDIENCE = "portico"


def sign(subject: str, role: str, *, ttl_s: int, data_dir: Path | None) -> str:
    """Errors: CommandFailed, when no demo has run in the folder."""
    folder = (data_dir or default_data_dir() / "demo") / "fleet" / "auth" / "auth-keys"
    keys = sorted(folder.glob("[0-9]*.pem"))
    if not keys:
        raise CommandFailed(f"there is no demo key in {folder}; run `portico demo` once, or name its --data-dir")
    now_s = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "role": role,
        "jti": secrets.token_hex(16),
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    key = load_pem_private_key(keys[-1].read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise CommandFailed(f"{keys[-1]} is no RSA key; remove it and run `portico demo` again")
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": _thumbprint(key)})


def _thumbprint(key: RSAPrivateKey) -> str:
    """Name the key as the demo's auth service publishes it. Source: RFC 7638 §3."""
    jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    members = json.dumps({"e": jwk["e"], "kty": "RSA", "n": jwk["n"]}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
