"""Tell the front door that a user has logged out everywhere, so that it refuses the access tokens that are still good.

The call is signed as any other token is: with the key the gateway verifies by, for an admin, for a minute. A front door
that does not answer never keeps anybody from logging out.
"""

import json
import logging
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from portico_fleet.auth.tokens import AccessTokens

_PATH = "/api/v1/revocations"
_TIMEOUT_S = 2
_WAITS_S = (1, 2, 4, 8, 16, 30)
_log = logging.getLogger("portico_fleet")


class Untold(Exception):
    """The front door did not take the revocation; the message says why."""


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """`url` is empty where there is none to be told."""

    url: str
    tokens: AccessTokens

    async def withdraw(self, account_id: int, *, before_s: float) -> bool:
        """Have the tokens of an account refused that were issued before a moment; tell whether that is done.

        Cost: at most two seconds.
        """
        try:
            await to_thread.run_sync(self._post, account_id, before_s, abandon_on_cancel=True)
        except Untold as fact:
            _log.warning("the front door was not told that account %d logged out: %s", account_id, fact)
            return False
        return True

    async def withdraw_later(self, account_id: int, *, before_s: float) -> None:
        """Try again for about a minute; after that the tokens are good until they expire."""
        for wait_s in _WAITS_S:
            await anyio.sleep(wait_s)
            if await self.withdraw(account_id, before_s=before_s):
                return
        _log.error("the access tokens of account %d stay good until they expire", account_id)

    def _post(self, account_id: int, before_s: float) -> None:
        if not self.url:
            return
        parts = urlsplit(self.url)
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = connect(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        token = self.tokens.issue_for_ourselves(now_s=int(time.time()))
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        body = json.dumps({"sub": str(account_id), "before": before_s})
        try:
            connection.request("POST", f"{parts.path.rstrip('/')}{_PATH}", body, headers)
            status = connection.getresponse().status
        except (OSError, HTTPException) as fact:
            raise Untold(repr(fact)) from fact
        finally:
            connection.close()
        if status not in range(200, 300):
            raise Untold(f"status {status}")
