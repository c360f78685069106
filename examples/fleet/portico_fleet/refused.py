"""Why a request is declined. These know nothing of Litestar, so the modules that decide need not either."""


class Refused(Exception):
    """Decline a request; the message is for the caller, `kind` becomes the problem's `type`."""

    status = 400
    kind = "validation-failed"


class FieldRefused(Refused):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Unauthenticated(Refused):
    status = 401
    kind = "unauthenticated"


class NotAllowed(Refused):
    status = 403
    kind = "not-allowed"


class NotFound(Refused):
    """Say that there is no such thing, or that it is somebody else's: the two answers are the same."""

    status = 404
    kind = "not-found"


class Conflict(Refused):
    status = 409
    kind = "conflict"
