"""Signatures of Standard Webhooks, by the example of its own libraries' tests."""

import base64

from app.infra.wire.standard_webhooks import secret_text, signature_of

# https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py
SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example_has_the_published_signature() -> None:
    key = base64.b64decode(SECRET)

    assert signature_of(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY) == SIGNATURE
    assert secret_text(key) == f"whsec_{SECRET}"
