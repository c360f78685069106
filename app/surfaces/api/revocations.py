"""Withdraw tokens before they expire: an admin, or the auth service with a token that it signed for itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from app.edge.faults import RevocationNotFound, RevocationsFull
from app.edge.withdrawals import REVOCATION_FIELDS, LiftRevocation, ListRevocations, Wish, WithdrawTokens
from app.infra.db.errors import StorageUnavailable
from app.kernel.errors import FieldError, ValidationFailed, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.paging import Page, parse_list_query
from app.kernel.revocation import ALWAYS, Mark, Revocation
from app.kernel.storable import text_problem
from app.surfaces.api.dependencies import AnyRequest

Who = NamedDependency[Principal]
RequestId = NamedDependency[str]
NAME_LIMIT_CHARS = 255
# described here, checked by `_names`
A_NAME = {"maxLength": NAME_LIMIT_CHARS, "pattern": r"^[^\x00]*$"}
Subject = Annotated[str | None, QueryParameter(name="sub", required=False, schema_extra=A_NAME)]
TokenId = Annotated[str | None, QueryParameter(name="jti", required=False, schema_extra=A_NAME)]
# from 1970 to the year 5138: milliseconds since 1970 are beyond it
_LAST_TIME_S = 1e11


class RevocationIn(Struct, frozen=True, forbid_unknown_fields=True):
    """One of `sub` and `jti`. Times are seconds since 1970 or ISO 8601 with an offset.

    `before`: tokens issued earlier are meant. Left out: with `sub` those issued until now, with `jti` the token however
    old it is. `exp`: what the token says, with `jti`, so that the revocation need not be kept longer.
    """

    sub: str | int | None = None
    jti: str | None = None
    before: float | str | None = None
    exp: float | str | None = None

    def wish(self) -> Wish:
        """Errors: ValidationFailed."""
        if (self.sub is None) == (self.jti is None):
            problem = FieldError("sub", "give either sub, for all tokens of a user, or jti, for one token")
            raise ValidationFailed("Some fields are not valid.", errors=[problem])
        mark, name = (Mark.SUBJECT, str(self.sub)) if self.jti is None else (Mark.JWT_ID, self.jti)
        return Wish(mark, name, before=_moment("before", self.before), token_expires_at=_moment("exp", self.exp))


class RevocationOut(Struct, frozen=True):
    """`before` is null where the token is meant whenever it was issued; `created_by` is who withdrew last."""

    id: int
    sub: str | None
    jti: str | None
    before: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, one: Revocation) -> Self:
        return cls(
            id=one.id,
            sub=one.name if one.mark is Mark.SUBJECT else None,
            jti=one.name if one.mark is Mark.JWT_ID else None,
            before=None if one.before == ALWAYS else one.before,
            created_by=one.created_by,
            created_at=one.created_at,
            updated_at=one.updated_at,
            expires_at=one.expires_at,
        )


class RevocationPageOut(Struct, frozen=True):
    items: Sequence[RevocationOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Revocation]) -> Self:
        return cls([RevocationOut.of(one) for one in page.items], page.total, page.limit, page.offset)


class RevocationsController(Controller):
    path = "/api/v1/revocations"
    tags = ("revocations",)
    opt = {"access": "ADMIN", "faults": (StorageUnavailable,)}  # noqa: RUF012 - Litestar reads it as a mapping

    @post(
        "/",
        summary="Withdraw the tokens of a user, or one token",
        opt={"faults": (StorageUnavailable, RevocationsFull)},
    )
    @inject
    async def withdraw_tokens(
        self, data: JSONBody[RevocationIn], principal: Who, request_id: RequestId, use_case: FromDishka[WithdrawTokens]
    ) -> RevocationOut:
        return RevocationOut.of(await use_case(principal, data.wish(), request_id=request_id))

    @get("/", summary="List the revocations in force")
    @inject
    async def list_revocations(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListRevocations],
        sub: Subject = None,
        jti: TokenId = None,
    ) -> RevocationPageOut:
        del principal
        given = request.query_params
        query = parse_list_query({key: given.getall(key) for key in given}, REVOCATION_FIELDS)
        return RevocationPageOut.of(await use_case(query, names=_names(sub, jti)))

    @delete(
        "/{revocation_id:str}", summary="Lift a revocation", opt={"faults": (RevocationNotFound, StorageUnavailable)}
    )
    @inject
    async def lift_revocation(
        self, revocation_id: FromPath[int], principal: Who, request_id: RequestId, use_case: FromDishka[LiftRevocation]
    ) -> None:
        await use_case(principal, revocation_id, request_id=request_id)


def _names(subject: str | None, token_id: str | None) -> Mapping[Mark, str]:
    """Errors: ValidationFailed, for a name that nothing stored could be equal to."""
    texts = {"sub": subject, "jti": token_id}
    found = {name: text_problem(text or "", at_least=0, at_most=NAME_LIMIT_CHARS) for name, text in texts.items()}
    refuse_invalid([FieldError(name, problem) for name, problem in found.items() if problem])
    given = {Mark.SUBJECT: subject, Mark.JWT_ID: token_id}
    return {mark: name for mark, name in given.items() if name is not None}


def _moment(field: str, given: float | str | None) -> datetime | None:
    """Read a time. Errors: ValidationFailed."""
    try:
        if given is None or isinstance(given, str):
            return None if given is None else _aware(datetime.fromisoformat(given))
        if 0 <= given < _LAST_TIME_S:
            return datetime.fromtimestamp(given, UTC)
    except (ValueError, OverflowError):
        pass
    message = "must be seconds since 1970, or an ISO 8601 time with an offset"
    raise ValidationFailed("Some fields are not valid.", errors=[FieldError(field, message)])


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(moment)
    return moment.astimezone(UTC)
