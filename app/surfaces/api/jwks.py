"""The keys of the tokens Portico itself signs, for upstreams that check the tokens of runs.

A worker's key is there before its first token, so whoever meets a `kid` that he does not know fetches this again.
"""

from collections.abc import Sequence

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get

from app.edge.faults import KeysUnavailable
from app.edge.live_runs import LiveRuns

CACHED = "public, max-age=60"
YOUNG_S = 1
"""so old may be what is answered: however many ask, it is read once a second"""


class KeyView(msgspec.Struct, frozen=True):
    """A JWK (RFC 7517 §4, RFC 7518 §6.3)."""

    kid: str
    n: str
    e: str
    kty: str = "RSA"
    use: str = "sig"
    alg: str = "RS256"
    key_ops: Sequence[str] = ("verify",)


class KeySetView(msgspec.Struct, frozen=True):
    """A JWK Set (RFC 7517 §5)."""

    keys: Sequence[KeyView]


class JwksController(Controller):
    path = "/.well-known"
    tags = ("keys",)
    opt = {"access": "PUBLIC"}  # noqa: RUF012 - Litestar reads it as a mapping

    @get("/jwks.json", opt={"faults": (KeysUnavailable,)})
    @inject
    async def keys(self, live: FromDishka[LiveRuns]) -> Response[KeySetView]:
        """Publish the keys with which tokens of runs are signed.

        Work that outlives its caller's token carries one of Portico's own: for five minutes, `iss` "portico", `sub` and
        role the caller's, `act.sub` the agent (RFC 8693 §4.1), `run` the run. The front door accepts it while the run
        lives.
        """
        if live.age_s > YOUNG_S:
            await live.refresh()
        if live.is_lost and not live.keys:
            raise KeysUnavailable("The keys cannot be read; try again.", headers={"retry-after": "1"})
        views = [KeyView(key.id, key.n, key.e) for key in sorted(live.keys, key=lambda key: key.id)]
        return Response(KeySetView(views), headers={"cache-control": CACHED})
