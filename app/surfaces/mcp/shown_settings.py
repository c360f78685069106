"""Settings without their secrets. Pure.

Rule: a text is shown only where its setting is listed here, and then without what stands in a URL beside scheme, host,
port and path; of any other it is told whether it is set. So a new setting is hidden until somebody says it is not.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from app.kernel.values import Json
from app.surfaces.mcp.system_tools import ShownSettings

SHOWN_TEXTS = frozenset(
    {
        "mode", "postgres_schema", "jwt_algorithm", "jwt_issuer", "jwt_audience", "jwt_cookie_name",
        "jwt_refresh_cookie_name", "jwt_role_claim", "jwt_jwks_url", "auth_service_url", "agenda_service_url",
        "snapshot_service_url", "front_door_url", "default_model", "approval_rules", "approval_unattended", "smtp_host",
        "smtp_tls", "telegram_api_url",
    }
)  # fmt: skip
SET, UNSET = "(set)", "(not set)"


def shown(settings: Mapping[str, object], upstreams: Mapping[str, tuple[str, ...]], **names: object) -> ShownSettings:
    """Show settings by name, the addresses of upstreams, and whatever else is only names or counts."""
    found: dict[str, Json] = {name: _value(name, value) for name, value in sorted(settings.items())}
    found["upstreams"] = {name: [address_of(url) for url in urls] for name, urls in upstreams.items()}
    for name, value in names.items():
        found[name] = [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
    return ShownSettings(found)


def _value(name: str, value: object) -> Json:
    match value:
        case None | bool() | int() | float():
            return value
        case Path():
            return str(value)
        case str() if name in SHOWN_TEXTS:
            return address_of(value) if "://" in value else value
        case _:
            return SET if value else UNSET


def address_of(url: str) -> str:
    """Give a URL without a name, a password, a query and a fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return SET
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
