"""Lists come a page at a time, in one envelope."""

from typing import Annotated

import msgspec
from litestar.params import Dependency, Parameter


class Page[Item](msgspec.Struct):
    """Subclass it for each kind of item, so that the OpenAPI document has a name for it."""

    items: list[Item]
    total: int
    limit: int
    offset: int


class Window(msgspec.Struct, frozen=True):
    limit: int
    offset: int


Wanted = Annotated[Window, Dependency(skip_validation=True)]


def provide_window(
    limit: Annotated[int, Parameter(ge=1, le=100, description="How many items at most")] = 20,
    offset: Annotated[int, Parameter(ge=0, le=2**31, description="How many items to skip")] = 0,
) -> Window:
    return Window(limit=limit, offset=offset)
