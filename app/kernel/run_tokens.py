"""What a worker that signs tokens for runs and a front door that checks them have in common.

A run outlives the token of whoever asked for it. It carries one of our own: for minutes, for one audience and one run,
`sub` and the role those of the asker, `act` the agent (RFC 8693 §4.1). Rule: a private key is never written anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.kernel.ids import RunId

ISSUER = "portico"
KEY_ID_PREFIX = "portico-run-"
AUDIENCE = "portico"
"""where the tokens of the auth service name none"""
LIFE_S = 300
MAX_AGENTS = 8


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key tokens of runs are checked with; `n` and `e` as a JWK has them (RFC 7518 §6.3.1)."""

    id: str
    n: str
    e: str


@dataclass(frozen=True, slots=True)
class LiveTokens:
    """What makes tokens of runs good at one moment: the keys that sign them, and the epochs of the runs that run."""

    keys: frozenset[PublicKey] = frozenset()
    epochs: Mapping[RunId, int] = field(default_factory=dict)
