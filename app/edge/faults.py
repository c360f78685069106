"""What the edge may answer instead of passing a request on: one fact a class; `docs/errors.md` lists the mends."""

from app.kernel.errors import (
    Broken,
    Fault,
    Forbidden,
    Malformed,
    MethodNotAllowed,
    NotFound,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
)


class PathNotAllowed(Malformed):
    type = "path-not-allowed"
    title = "The path is written in a way the front door does not pass on"


class HeadMalformed(Malformed):
    type = "head-malformed"
    title = "The request's head cannot be understood"


class TargetTooLong(TooLarge):
    type = "target-too-long"
    title = "The request line is too long"


class HeadTooLarge(TooLarge):
    type = "head-too-large"
    title = "The request's head is too large"


class BodyTooLarge(TooLarge):
    type = "body-too-large"


class RouteNotFound(NotFound):
    type = "route-not-found"
    title = "No route leads here"


class RouteMethodNotAllowed(MethodNotAllowed):
    type = "method-not-allowed"


class TokenMissing(Unauthenticated):
    type = "token-missing"
    title = "This door needs a token"


class TokenExpired(Unauthenticated):
    type = "token-expired"
    title = "The token has expired"


class TokenInvalid(Unauthenticated):
    type = "token-invalid"
    title = "The token is not valid"


class OriginNotAllowed(Forbidden):
    type = "origin-not-allowed"
    title = "A cookie is not accepted from this origin"


class RoleNotAllowed(Forbidden):
    type = "role-not-allowed"
    title = "Your role does not open this door"


class ScopeNotGranted(Forbidden):
    type = "scope-not-granted"
    title = "The key is not for this door"


class RevocationNotFound(NotFound):
    type = "revocation-not-found"
    title = "There is no such revocation in force"


class RevocationsFull(Unavailable):
    type = "revocations-full"
    title = "No more tokens can be withdrawn at the moment"


class KeysUnavailable(Unavailable):
    type = "keys-unavailable"
    title = "Tokens cannot be checked at the moment"


class Overloaded(Unavailable):
    type = "overloaded"
    title = "There are too many requests at the moment"


class UpgradeNotOffered(Malformed):
    type = "upgrade-not-offered"
    title = "This route does not take an upgraded connection"


class UpstreamRefused(Broken):
    type = "upstream-refused"
    title = "The service behind this route did not accept the connection"


class UpstreamAnswerBroken(Broken):
    type = "upstream-broken"
    title = "The service behind this route broke off or answered wrongly"


class ForwardingLoop(Broken):
    type = "forwarding-loop"
    title = "The service behind this route sends requests back to this gateway"


class UpstreamUnavailable(Unavailable):
    type = "upstream-unavailable"
    title = "The service behind this route takes no more requests at the moment"


class UpstreamTimeout(TimedOut):
    type = "upstream-timeout"
    title = "The service behind this route did not answer in time"


class HeadTooSlow(Malformed):
    type = "head-too-slow"
    title = "The request's head did not arrive in time"


class RequestTooSlow(Malformed):
    type = "request-too-slow"
    title = "The request's body did not arrive in time"


class ClientTooSlow(Malformed):
    """The answer had begun: this is a reason for the log, never sent."""

    type = "client-too-slow"
    title = "The client did not take the answer in time"


UNFRAMED = (HeadMalformed, HeadTooLarge, HeadTooSlow, TargetTooLong)
"""behind these nobody knows where the next request would begin: the connection ends (RFC 9112 §6.3)"""


class InternalFault(Fault):
    """Something is wrong with us; the log has the trace under the request id."""

    type = "internal"
