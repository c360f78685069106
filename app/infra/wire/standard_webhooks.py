"""Signatures of webhooks, as Standard Webhooks writes them: pure, both directions begin here.

Facts (https://github.com/standard-webhooks/standard-webhooks, specification 1.0.0)
- What is signed is `id.timestamp.body`, with HMAC-SHA256; the signature is `v1,` and base64, several with a space
  between them.
- A secret is written `whsec_` and base64 of 24 to 64 bytes.
- The id stays the same when a message is sent again, the timestamp (seconds since 1970) is that of the attempt.
"""

import base64
import hashlib
import hmac

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"


def secret_text(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()


def signature_of(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
