"""JSON bodies, read as what a handler declares: a text where a number belongs is wrong, as the description says.

Litestar would read a body into plain values first and convert those leniently: "1" to a number, 0 to false.
"""

import re
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import SerializationException, ValidationException
from litestar.serialization import decode_json

from app.kernel.errors import Malformed
from app.surfaces.api.json_shape import MOST_VALUES, has_too_many_values

# at the very end: in front of it may stand the name of a field, which is the client's
_AT = re.compile(r" - at `(?:key in )?\$\.?(?P<field>[^`]*)`\Z")


class StrictRequest(Request[Any, Any, Any]):
    """Any: the user, auth and state of a Litestar request, none of which we use."""

    async def json(self) -> Any:
        """Read the body, in one pass. Errors: SerializationException, ValidationException, Malformed.

        Any: as in what it overrides; an instance of the handler's own type, which Litestar passes on as it is.
        """
        declared = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        body = await self.body()
        if has_too_many_values(body):
            raise Malformed(f"The body holds more than {MOST_VALUES:,} values, which is more than anything here takes.")
        try:
            return decode_json(body, declared)
        except SerializationException as unread:
            if isinstance(unread.__cause__, msgspec.ValidationError):
                raise _named(str(unread.__cause__)) from unread
            raise


def _named(message: str) -> ValidationException:
    """Say what is wrong as Litestar does, whose messages `refusals.py` reads."""
    at = _AT.search(message)
    field, words = (at["field"], message[: at.start()]) if at is not None else ("", message)
    return ValidationException(extra=[{"key": field, "message": words}])
