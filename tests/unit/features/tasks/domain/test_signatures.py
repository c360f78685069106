import base64
import hashlib
import hmac

import pytest

from app.features.tasks.domain.signatures import (
    Bearer,
    Delivery,
    DeliveryStale,
    Hmac,
    Scheme,
    SignatureInvalid,
    Standard,
    key_of,
    verify,
)
from app.infra.wire.standard_webhooks import signature_of

# https://github.com/standard-webhooks/standard-webhooks: the example of the specification and of its libraries' tests
SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SPEC_AT = 1614265330
SPEC = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(SPEC_AT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
SPEC_BODY = b'{"test": 2432232314}'
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

# GitHub documentation, "Validating webhook deliveries", "Testing the webhook payload validation"
GITHUB = Hmac()
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_DELIVERY = Delivery(
    {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    b"Hello, World!",
)

# Slack documentation, "Verifying requests from Slack"
SLACK = Hmac(
    header="X-Slack-Signature",
    prefix="v0=",
    timestamp_header="X-Slack-Request-Timestamp",
    base="v0:{timestamp}:{body}",
)
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_AT = 1531420618
SLACK_DELIVERY = Delivery(
    {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": str(SLACK_AT),
    },
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
)


def test_the_specifications_own_example_verifies() -> None:
    verified = verify(Standard(), Delivery(SPEC, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT)

    assert verified.id == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert verified.is_dated


def test_githubs_documented_example_verifies() -> None:
    verified = verify(GITHUB, GITHUB_DELIVERY, [GITHUB_SECRET], now_s=0)

    assert verified.id is None
    assert verified.proof == hashlib.sha256(b"Hello, World!").digest()
    assert not verified.is_dated


def test_slacks_documented_example_verifies() -> None:
    assert verify(SLACK, SLACK_DELIVERY, [SLACK_SECRET], now_s=SLACK_AT + 10).is_dated


def test_slacks_documented_example_is_stale_today() -> None:
    with pytest.raises(DeliveryStale):
        verify(SLACK, SLACK_DELIVERY, [SLACK_SECRET], now_s=SLACK_AT + 301)


def test_one_of_several_signatures_is_enough() -> None:
    headers = {**SPEC, "webhook-signature": f"v1,bm9ib2R5 v1a,xxxx {SPEC['webhook-signature']}"}

    assert verify(Standard(), Delivery(headers, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT).id


def test_signatures_behind_the_first_sixteen_are_not_looked_at() -> None:
    headers = {**SPEC, "webhook-signature": "v1,bm9ib2R5 " * 16 + SPEC["webhook-signature"]}

    with pytest.raises(SignatureInvalid):
        verify(Standard(), Delivery(headers, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT)


def test_any_of_the_secrets_that_hold_will_do() -> None:
    assert verify(Standard(), Delivery(SPEC, SPEC_BODY), [OTHER_SECRET, SPEC_SECRET], now_s=SPEC_AT).id


@pytest.mark.parametrize("off_by_s", [-301, 301, 10**9])
def test_a_timestamp_that_is_off_by_more_than_five_minutes_is_stale(off_by_s: int) -> None:
    with pytest.raises(DeliveryStale):
        verify(Standard(), Delivery(SPEC, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT + off_by_s)


@pytest.mark.parametrize("off_by_s", [-300, 0, 300])
def test_a_timestamp_within_five_minutes_is_taken(off_by_s: int) -> None:
    assert verify(Standard(), Delivery(SPEC, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT + off_by_s).id


def test_a_bad_signature_is_told_before_a_stale_timestamp() -> None:
    with pytest.raises(SignatureInvalid):
        verify(Standard(), Delivery(SPEC, b"{}"), [SPEC_SECRET], now_s=SPEC_AT + 1000)


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({"webhook-id": "msg_other"}, SPEC_BODY),
        ({"webhook-timestamp": str(SPEC_AT + 1)}, SPEC_BODY),
        ({"webhook-signature": "v1,bm9ib2R5"}, SPEC_BODY),
        ({"webhook-signature": SPEC["webhook-signature"].replace("v1,", "v2,")}, SPEC_BODY),
        ({"webhook-signature": ""}, SPEC_BODY),
        ({"webhook-signature": "v1,\xe9"}, SPEC_BODY),
        ({"webhook-timestamp": "1614265330.0"}, SPEC_BODY),
        ({}, SPEC_BODY + b" "),
    ],
    ids=["id", "time", "signature", "version", "none", "not-ascii", "time-form", "body"],
)
def test_whatever_was_changed_does_not_verify(changed: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify(Standard(), Delivery({**SPEC, **changed}, body), [SPEC_SECRET], now_s=SPEC_AT)


@pytest.mark.parametrize("missing", list(SPEC))
def test_a_delivery_without_one_of_the_headers_does_not_verify(missing: str) -> None:
    headers = {name: value for name, value in SPEC.items() if name != missing}

    with pytest.raises(SignatureInvalid):
        verify(Standard(), Delivery(headers, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT)


def test_a_signed_delivery_without_an_id_does_not_verify() -> None:
    headers = {
        "webhook-id": "",
        "webhook-timestamp": "100",
        "webhook-signature": signature_of(key_of(SPEC_SECRET), "", 100, b"x"),
    }

    with pytest.raises(SignatureInvalid):
        verify(Standard(), Delivery(headers, b"x"), [SPEC_SECRET], now_s=100)


@pytest.mark.parametrize("scheme", [Standard(), GITHUB, SLACK, Bearer()], ids=["standard", "github", "slack", "bearer"])
def test_nothing_verifies_without_a_secret(scheme: Scheme) -> None:
    with pytest.raises(SignatureInvalid):
        verify(scheme, Delivery({**SPEC, "authorization": "Bearer "}, SPEC_BODY), [], now_s=SPEC_AT)


def test_a_timestamp_that_is_no_number_does_not_verify_however_it_is_signed() -> None:
    signed = hmac.digest(SLACK_SECRET.encode(), b"v0:soon:x", "sha256").hex()
    delivery = Delivery({"x-slack-signature": f"v0={signed}", "x-slack-request-timestamp": "soon"}, b"x")

    with pytest.raises(SignatureInvalid):
        verify(SLACK, delivery, [SLACK_SECRET], now_s=SLACK_AT)


def test_a_body_that_holds_the_names_of_the_base_is_signed_as_it_is() -> None:
    body = b"{timestamp}{body}"
    signed = hmac.digest(SLACK_SECRET.encode(), b"v0:100:" + body, "sha256").hex()
    delivery = Delivery({"x-slack-signature": f"v0={signed}", "x-slack-request-timestamp": "100"}, body)

    assert verify(SLACK, delivery, [SLACK_SECRET], now_s=100).proof == hashlib.sha256(b"v0:100:" + body).digest()


def test_a_signature_may_be_written_in_base64() -> None:
    scheme = Hmac(header="X-Shopify-Hmac-Sha256", prefix="", encoding="base64", id_header="X-Shopify-Webhook-Id")
    signed = base64.b64encode(hmac.digest(b"a secret of theirs", b"x", "sha256")).decode()
    delivery = Delivery({"x-shopify-hmac-sha256": signed, "x-shopify-webhook-id": "7"}, b"x")

    assert verify(scheme, delivery, ["a secret of theirs"], now_s=0).id == "7"


@pytest.mark.parametrize(
    ("authorization", "holds"),
    [
        (f"Bearer {SPEC_SECRET}", True),
        (f"bearer {SPEC_SECRET}", True),
        (f"Basic {SPEC_SECRET}", False),
        (SPEC_SECRET, False),
        ("Bearer other", False),
        ("", False),
    ],
)
def test_a_bearer_shows_the_secret_itself(authorization: str, *, holds: bool) -> None:
    delivery = Delivery({"authorization": authorization, "webhook-id": "7"}, b"x")

    if not holds:
        with pytest.raises(SignatureInvalid):
            verify(Bearer(), delivery, [SPEC_SECRET], now_s=0)
        return
    verified = verify(Bearer(), delivery, [SPEC_SECRET], now_s=0)
    assert (verified.id, verified.proof) == ("7", None)


def test_a_delivery_that_is_tried_again_has_another_proof_and_the_same_id() -> None:
    first, again = (
        {
            **SPEC,
            "webhook-timestamp": str(at),
            "webhook-signature": signature_of(key_of(SPEC_SECRET), SPEC["webhook-id"], at, SPEC_BODY),
        }
        for at in (SPEC_AT, SPEC_AT + 5)
    )

    one = verify(Standard(), Delivery(first, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT)
    two = verify(Standard(), Delivery(again, SPEC_BODY), [SPEC_SECRET], now_s=SPEC_AT)

    assert one.id == two.id
    assert one.proof != two.proof
