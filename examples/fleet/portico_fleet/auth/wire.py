"""What comes in and goes out of the auth endpoints."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

_Email = Annotated[
    str,
    Meta(
        max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+$", description="like a@b.example"
    ),
]
_NewPassword = Annotated[str, Meta(min_length=8, max_length=256)]


class Registration(Struct, forbid_unknown_fields=True):
    """There is no role here: nobody chooses their own."""

    email: _Email
    password: _NewPassword


class Credentials(Struct, forbid_unknown_fields=True):
    email: Annotated[str, Meta(max_length=254)]
    password: Annotated[str, Meta(max_length=256)]


class Refresh(Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(max_length=256)]


class User(Struct):
    id: int
    email: str
    role: str


class Profile(Struct):
    id: int
    email: str
    role: str
    created_at: datetime
    active_sessions: int


class Session(Struct):
    """`expires_in` is in seconds and speaks of the access token."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    user: User
