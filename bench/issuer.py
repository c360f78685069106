"""Who signs the tokens of a benchmark."""

import json
import time
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

LIFETIME_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Issuer:
    key: RSAPrivateKey

    @classmethod
    def generate(cls) -> "Issuer":
        return cls(generate_private_key(public_exponent=65537, key_size=2048))

    @property
    def public_pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def jwks(self) -> str:
        key = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [key | {"use": "sig", "alg": "RS256"}]})

    def token(self, sub: str = "1", role: str = "user") -> str:
        """Cost: one RSA signature, about half a millisecond."""
        claims = {"sub": sub, "role": role, "exp": int(time.time()) + LIFETIME_S}
        return jwt.encode(claims, self.key, algorithm="RS256")
