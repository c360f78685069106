"""How a webhook shows that it was sent by somebody who knows its secret. Pure: values in, a verdict out.

Facts
- Standard Webhooks signs `ID.TIMESTAMP.BODY` with HMAC-SHA256; `webhook-signature` lists signatures, `v1,BASE64` each,
  with spaces between; the key is what stands in base64 behind `whsec_`. A delivery that is tried again keeps its id and
  has a new timestamp, and so a new signature (Standard Webhooks specification, "Webhook Headers", "Verifying").
- GitHub signs the body: `X-Hub-Signature-256: sha256=HEX` (GitHub documentation, "Validating webhook deliveries").
- Slack signs `v0:TIMESTAMP:BODY`: `X-Slack-Signature: v0=HEX` (Slack documentation, "Verifying requests from Slack").
- Both use the secret's text as the key, as it is.

Rule: every secret and every signature that was sent is compared, in constant time, whether or not one matched before.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.infra.wire.standard_webhooks import ID, PREFIX, SIGNATURE, TIMESTAMP, signature_of
from app.kernel.errors import Unauthenticated

TOLERANCE_S = 300
MAX_SIGNATURES = 16
"""of one delivery that are looked at; somebody who rotates a secret sends two"""
MAX_ID_CHARS = 255

type Encoding = Literal["hex", "base64"]


@dataclass(frozen=True, slots=True)
class Hmac:
    """Where a signature stands and what it is of: `base` says it in words, with `{timestamp}` and `{body}` in them."""

    header: str = "x-hub-signature-256"
    prefix: str = "sha256="
    encoding: Encoding = "hex"
    timestamp_header: str | None = None
    base: str = "{body}"
    id_header: str | None = None


@dataclass(frozen=True, slots=True)
class Standard:
    """As the Standard Webhooks specification says."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """The secret itself, in `Authorization`: it proves who sends, and nothing of what."""


type Scheme = Standard | Hmac | Bearer


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request as it came; names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """A delivery that was sent by who knows the secret.

    `id` is the sender's name of it, the same when it is sent again; None where it has none. `proof` is what nobody
    without the secret can make, so that a delivery under another id is still known by it; None where anybody who has
    seen one can make more. `is_dated`: it cannot be shown again after a few minutes.
    """

    id: str | None
    proof: bytes | None
    is_dated: bool


class SignatureInvalid(Unauthenticated):
    """It says the same of a webhook that does not exist."""

    type = "webhook-signature-invalid"
    title = "The webhook's signature does not hold"

    def __init__(self) -> None:
        super().__init__("There is no such webhook, or the delivery was not signed with its secret.")


class DeliveryStale(Unauthenticated):
    type = "webhook-stale"
    title = "The delivery was signed too long ago, or in the future"

    def __init__(self, *, off_by_s: float) -> None:
        when = "ago" if off_by_s > 0 else "in the future"
        super().__init__(
            f"Its timestamp lies {abs(off_by_s):.0f} seconds {when}; up to {TOLERANCE_S} are taken. Sign it anew."
        )


def verify(scheme: Scheme, delivery: Delivery, secrets: Sequence[str], *, now_s: float) -> Verified:
    """Tell what a delivery proves; any of the secrets will do. A timestamp is only judged when its signature holds.

    Errors: SignatureInvalid, DeliveryStale.
    """
    match scheme:
        case Standard():
            return _verify_standard(delivery, secrets, now_s)
        case Hmac():
            return _verify_hmac(scheme, delivery, secrets, now_s)
        case Bearer():
            return _verify_bearer(delivery, secrets)


def key_of(secret: str) -> bytes:
    """Read a secret as Standard Webhooks does; one of another form is its own key."""
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def _verify_standard(delivery: Delivery, secrets: Sequence[str], now_s: float) -> Verified:
    id_, stamp = delivery.headers.get(ID, ""), delivery.headers.get(TIMESTAMP, "")
    given = delivery.headers.get(SIGNATURE, "").split()[:MAX_SIGNATURES]
    timestamp_s = _seconds(stamp)
    wanted = [signature_of(key_of(secret), id_, timestamp_s or 0, delivery.body) for secret in secrets]
    holds = _any_equal(given, wanted)
    if not holds or not id_ or len(id_) > MAX_ID_CHARS or timestamp_s is None:
        raise SignatureInvalid
    _refuse_stale(timestamp_s, now_s)
    return Verified(id_, hashlib.sha256(f"{id_}.{timestamp_s}.".encode() + delivery.body).digest(), is_dated=True)


def _verify_hmac(scheme: Hmac, delivery: Delivery, secrets: Sequence[str], now_s: float) -> Verified:
    given = delivery.headers.get(scheme.header.lower(), "")
    stamp = "" if scheme.timestamp_header is None else delivery.headers.get(scheme.timestamp_header.lower(), "")
    signed = _base(scheme.base, stamp, delivery.body)
    wanted = [scheme.prefix + _written(_mac(secret.encode(), signed), scheme.encoding) for secret in secrets]
    holds = _any_equal([given], wanted)
    id_ = delivery.headers.get(scheme.id_header.lower()) if scheme.id_header else None
    if not holds or len(id_ or "") > MAX_ID_CHARS:
        raise SignatureInvalid
    if scheme.timestamp_header is not None:
        timestamp_s = _seconds(stamp)
        if timestamp_s is None:
            raise SignatureInvalid
        _refuse_stale(timestamp_s, now_s)
    return Verified(id_ or None, hashlib.sha256(signed).digest(), is_dated=scheme.timestamp_header is not None)


def _verify_bearer(delivery: Delivery, secrets: Sequence[str]) -> Verified:
    scheme, _, token = delivery.headers.get("authorization", "").partition(" ")
    holds = _any_equal([token.strip()], list(secrets))
    id_ = delivery.headers.get(ID) or delivery.headers.get("idempotency-key")
    if not holds or scheme.lower() != "bearer" or len(id_ or "") > MAX_ID_CHARS:
        raise SignatureInvalid
    return Verified(id_ or None, None, is_dated=False)


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")


def _base(base: str, stamp: str, body: bytes) -> bytes:
    """Put the body in at last: what looks like a name in it is part of it."""
    head, _, tail = base.partition("{body}")
    return head.replace("{timestamp}", stamp).encode() + body + tail.replace("{timestamp}", stamp).encode()


def _written(mac: bytes, encoding: Encoding) -> str:
    return mac.hex() if encoding == "hex" else base64.b64encode(mac).decode()


def _any_equal(given: Sequence[str], wanted: Sequence[str]) -> bool:
    holds = False
    for one in given:
        for other in wanted:
            holds |= hmac.compare_digest(one.encode(), other.encode())
    return holds


def _seconds(stamp: str) -> int | None:
    return int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 12 else None


def _refuse_stale(timestamp_s: int, now_s: float) -> None:
    """Errors: DeliveryStale."""
    off_by_s = now_s - timestamp_s
    if abs(off_by_s) > TOLERANCE_S:
        raise DeliveryStale(off_by_s=off_by_s)
