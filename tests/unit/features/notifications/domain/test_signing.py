"""Whose key a webhook is signed with."""

import base64

from app.features.notifications.domain.signing import SigningKey
from app.kernel.ids import UserId

KEY, ANN = SigningKey("s" * 32), UserId("ann")


def test_each_owner_and_address_has_a_secret_of_its_own_that_stays() -> None:
    secrets = [
        KEY.secret_of(ANN, "https://a.example"),
        KEY.secret_of(ANN, "https://b.example"),
        KEY.secret_of(UserId("ben"), "https://a.example"),
        SigningKey("t" * 32).secret_of(ANN, "https://a.example"),
    ]

    assert len(set(secrets)) == 4
    assert KEY.secret_of(ANN, "https://a.example") == secrets[0]
    assert all(24 <= len(base64.b64decode(one.removeprefix("whsec_"))) <= 64 for one in secrets)


def test_the_operators_secret_is_in_no_log_of_it() -> None:
    assert "ssss" not in repr(KEY)
