"""Notes: a service that checks tokens itself, those of people and those of runs, and tells the two apart.

Its rule: an agent may read its user's notes and add to them; what is thrown away, people throw away. The standard
library and PyJWT are all it needs. Start it with the front door's address and the auth service's keys:

    FRONT_DOOR_URL=http://127.0.0.1:8000 AUTH_JWKS_URL=http://127.0.0.1:8001/.well-known/jwks.json python notes.py 8005
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import jwt

FRONT_DOOR = os.environ["FRONT_DOOR_URL"].rstrip("/")
AUTH_ISSUER = os.environ.get("AUTH_ISSUER", "portico-demo-auth")
AUDIENCE = os.environ.get("AUDIENCE", "portico")
PORTICO = "portico"
TIMEOUT_S = 3
BODY_LIMIT_BYTES = 64 * 1024

# An unknown `kid` makes this client fetch the keys again: that is how it learns of a worker that has just started.
KEYS = {
    PORTICO: jwt.PyJWKClient(f"{FRONT_DOOR}/.well-known/jwks.json", lifespan=60, timeout=TIMEOUT_S),
    AUTH_ISSUER: jwt.PyJWKClient(os.environ["AUTH_JWKS_URL"], timeout=TIMEOUT_S),
}


class Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Caller:
    """`agents` acts for the user: the present one first. Nobody there is the user himself."""

    user_id: str
    agents: tuple[str, ...] = ()


def caller_of(token: str) -> Caller:
    """Check a token with the keys of whoever it says has issued it, and no other's."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        if issuer not in KEYS:
            raise Refused(401, "nobody we trust has issued this token")
        required = ["exp", "sub", "run", "act"] if issuer == PORTICO else ["exp", "sub"]
        claims = jwt.decode(
            token,
            KEYS[issuer].get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            audience=AUDIENCE,
            issuer=issuer,
            options={"require": required},
        )
    except jwt.PyJWKClientConnectionError as fact:
        raise Refused(503, "the keys cannot be fetched") from fact
    except jwt.PyJWTError as fact:
        raise Refused(401, "the token does not hold") from fact
    if issuer == PORTICO:
        refuse_if_over(claims["run"], token)
    return Caller(claims["sub"], tuple(agents_of(claims.get("act"))))


def refuse_if_over(run: str, token: str) -> None:
    """Ask the front door about the run, with the run's own token: it is refused there as soon as the run is over."""
    asked = Request(f"{FRONT_DOOR}/api/v1/runs/{run}", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 our own
    try:
        urlopen(asked, timeout=TIMEOUT_S).close()  # noqa: S310 our own address
    except HTTPError as answer:
        if answer.code == 401:
            raise Refused(401, "the run is over") from answer
        raise Refused(503, f"the front door answered {answer.code}") from answer
    except (URLError, TimeoutError) as fact:
        raise Refused(503, "the front door cannot be asked") from fact


def agents_of(actor: object) -> Iterator[str]:
    while isinstance(actor, dict):
        yield str(actor.get("sub"))
        actor = actor.get("act")


KEPT: defaultdict[str, dict[int, object]] = defaultdict(dict)


class Notes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answered(lambda caller: (200, list(KEPT[caller.user_id].values())))

    def do_POST(self) -> None:
        text = self.rfile.read(min(int(self.headers["Content-Length"] or 0), BODY_LIMIT_BYTES)).decode()
        self.answered(lambda caller: (201, self.add(caller, text)))

    def do_DELETE(self) -> None:
        self.answered(lambda caller: (200, self.throw_away(caller, int(self.path.rpartition("/")[2]))))

    def add(self, caller: Caller, text: str) -> object:
        mine = KEPT[caller.user_id]
        number = max(mine, default=0) + 1
        mine[number] = {"id": number, "text": text, "by": caller.agents[0] if caller.agents else None}
        return mine[number]

    def throw_away(self, caller: Caller, number: int) -> object:
        if caller.agents:
            raise Refused(403, f"{caller.agents[0]} may not throw away what is {caller.user_id}'s")
        found = KEPT[caller.user_id].pop(number, None)
        if found is None:
            raise Refused(404, "there is no such note")
        return found

    def answered(self, act: Callable[[Caller], tuple[int, object]]) -> None:
        status: int
        body: object
        try:
            status, body = act(caller_of(self.bearer()))
        except Refused as refused:
            status, body = refused.status, {"detail": str(refused)}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def bearer(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(401, "a bearer token is missing")
        return token

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's word
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Notes).serve_forever()
