"""What every channel that posts JSON shares: one request, judged by the head of its answer.

Rule: the head is all that is waited for. A receiver that says 200 and then stalls has taken the message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.features.notifications.domain.backoff import Answer, Attempted, answer_of, seconds_of
from app.infra.http_client.client import CallFailed, CallHead, CallTimeouts, HttpClient
from app.infra.http_client.egress import EgressRefused, HostUnknown, Network
from app.kernel.clock import Clock

TIMEOUTS = CallTimeouts(connect_s=5, answer_s=15)


@dataclass(frozen=True, slots=True)
class Posting:
    """`networks` are the private ones that addresses of owners may be on."""

    http: HttpClient
    clock: Clock
    networks: Sequence[Network] = ()

    async def to_owners(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempted:
        """Post to an address that an owner gave, if it may be called."""
        try:
            head = await self.http.tell_outside(
                url, body=body, headers=_json(headers), networks=self.networks, timeouts=TIMEOUTS
            )
        except HostUnknown:
            return Attempted(Answer.FAILED, "nobody knows where the receiver is")
        except EgressRefused:
            return Attempted(Answer.GONE, "the receiver is at an address that may not be called")
        except CallFailed as error:
            return _no_answer(error)
        return self._judged(head)

    async def to_operators(self, url: str, body: bytes) -> Attempted:
        """Post to an address of the settings."""
        try:
            head = await self.http.tell(url, body=body, headers=_json({}), timeouts=TIMEOUTS)
        except CallFailed as error:
            return _no_answer(error)
        return self._judged(head)

    def _judged(self, head: CallHead) -> Attempted:
        wait_s = seconds_of(head.headers.get("retry-after"), now=self.clock.now())
        return answer_of(head.status, retry_after_s=wait_s)


def _json(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {"content-type": "application/json", "user-agent": "portico", **headers}


def _no_answer(error: CallFailed) -> Attempted:
    # its own words hold the URL, and that may be a secret
    return Attempted(Answer.FAILED, f"the receiver did not answer ({type(error.__cause__).__name__})")
