"""A chat for anonymous visitors, as those know it that have nothing to do with how it answers."""

from app.kernel.ids import RESERVED, UserId


def owner_of(widget: str) -> UserId:
    """Name in whose name a widget's runs work and spend: nobody can log in under it."""
    return UserId(f"{RESERVED}widget:{widget}")
