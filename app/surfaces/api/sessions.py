"""Where an API key is exchanged for a token that lives for minutes: for what takes tokens and no keys."""

from datetime import UTC, datetime
from typing import Literal

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, post
from litestar.di import NamedDependency
from msgspec import Struct

from app.edge.faults import KeysUnavailable
from app.edge.session_tokens import SessionSigner
from app.features.keys.domain import KeyNotShown
from app.kernel.clock import Clock
from app.kernel.identity import Principal

NOT_STORED = {"cache-control": "no-store"}


class SessionOut(Struct, frozen=True):
    """As RFC 6749 §5.1 writes it; `expires_in` is in seconds."""

    access_token: str
    expires_in: int
    expires_at: datetime
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the word for its kind


class SessionsController(Controller):
    path = "/api/v1/sessions"
    tags = ("keys",)

    @post(
        "/",
        summary="Exchange an API key for a token that lives for minutes",
        description=(
            "Send the key as `Authorization: Bearer ptk_...`. The token has the key's owner, roles and scopes, is "
            "signed with a key of `/.well-known/jwks.json` (`iss` is `portico`), and is refused here as soon as the "
            "key is."
        ),
        status_code=201,
        opt={"faults": (KeyNotShown, KeysUnavailable)},
    )
    @inject
    async def create_session(
        self, principal: NamedDependency[Principal], signer: FromDishka[SessionSigner], clock: FromDishka[Clock]
    ) -> Response[SessionOut]:
        if principal.key is None or principal.is_exchanged:
            raise KeyNotShown("Send the API key itself as the bearer; a token is not exchanged for another.")
        made = await signer.session_of(principal.key)
        left_s = max(0, int(made.expires_at_s - clock.time_s()))
        told = SessionOut(made.text, left_s, datetime.fromtimestamp(made.expires_at_s, UTC))
        return Response(told, status_code=201, headers=NOT_STORED)
