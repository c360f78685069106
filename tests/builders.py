"""Values for tests: each has sane defaults, and takes what the test is about."""

import functools
import time
from pathlib import Path
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.infra.durable.key_ring import public_key_of
from app.kernel.authority import Authority
from app.kernel.identity import Principal, RoleTable
from app.kernel.ids import RunId, UserId
from app.kernel.run_tokens import AUDIENCE, ISSUER, LIFE_S
from app.settings import GatewayFile, Settings

ROLES = RoleTable.build({}, developer_everywhere=True)


@functools.cache
def signing_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def public_pem() -> str:
    return signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def a_token(*, sub: object = "1", role: object = "user", key: object = None, **claims: object) -> str:
    """A token of the test key that holds for an hour; a claim given as None is left out."""
    now_s = int(time.time())
    payload = {"sub": sub, "role": role, "exp": now_s + 3600, "iat": now_s, **claims}
    present = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(present, key or signing_key(), algorithm="RS256")  # type: ignore[arg-type] # a test may pass any


@functools.cache
def worker_key() -> RSAPrivateKey:
    """A key as a worker has one, to sign tokens of runs with."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def a_run_token(run_id: RunId, *, sub: str = "1", role: object = "user", epoch: int = 1, **claims: object) -> str:
    """A token of a run, good for five minutes; a claim given as None is left out."""
    now_s = int(time.time())
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": sub,
        "role": role,
        "iat": now_s,
        "exp": now_s + LIFE_S,
        "jti": uuid4().hex,
        "run": str(run_id),
        "epoch": epoch,
        "act": {"sub": "assistant"},
        "orig_iat": now_s - 60,
        **claims,
    }
    present = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(present, worker_key(), algorithm="RS256", headers={"kid": public_key_of(worker_key()).id})


def bearer(**claims: object) -> dict[str, str]:
    return {"authorization": f"Bearer {a_token(**claims)}"}


def a_principal(*, user_id: str = "1", role: str = "user", expires_at: float = 2**40) -> Principal:
    return Principal(UserId(user_id), role, ROLES.groups_of([role]), expires_at, credential="token-of-" + user_id)


def acting_principal(
    run_id: RunId, *, user_id: str = "1", roles: tuple[str, ...] = ("user",), epoch: int = 1, agent: str = "assistant"
) -> Principal:
    """The caller of a turn in this run."""
    return Authority(UserId(user_id), roles, issued_at=0.0, token_id="asked-with").in_run(
        run_id, epoch, agent=agent, table=ROLES
    )


LOCAL_ROUTES = (
    {"prefix": "/api/health", "methods": ["GET"], "local": True, "access": "PUBLIC"},
    {"path": "/metrics", "methods": ["GET"], "local": True, "access": "PUBLIC"},
    {"prefix": "/docs", "methods": ["GET"], "local": True, "access": "PUBLIC"},
    {"path": "/openapi.json", "methods": ["GET"], "local": True, "access": "PUBLIC"},
    {"path": "/.well-known/jwks.json", "methods": ["GET"], "local": True, "access": "PUBLIC"},
    {"prefix": "/api/v1/attachments", "local": True, "access": "COMMON", "max_body_bytes": 16 * 1024**2},
    {
        "prefix": "/api/v1/tasks/webhooks",
        "methods": ["POST"],
        "local": True,
        "access": "PUBLIC",
        "max_body_bytes": 256 * 1024,
    },
    {"path": "/execute", "local": True, "access": "COMMON"},
    {
        "prefix": "/api/v1/public/chat",
        "methods": ["POST"],
        "local": True,
        "access": "PUBLIC",
        "max_body_bytes": 16 * 1024,
        "rate_limit": "20/minute",
    },
    {"prefix": "/v1", "local": True, "access": "COMMON", "errors": "openai"},
    {"path": "/mcp", "local": True, "access": "COMMON", "max_body_bytes": 1024 * 1024},
    {"prefix": "/api/v1", "local": True, "access": "COMMON"},
)


def some_settings(
    tmp_path: Path,
    *,
    dsn: str,
    upstreams: dict[str, object] | None = None,
    routes: tuple[dict[str, object], ...] = (),
    widgets: tuple[dict[str, object], ...] = (),
    **values: object,
) -> Settings:
    """Settings of a test gateway: the test key, the scripted model, Portico's own rows behind the given ones."""
    rows = {"upstreams": upstreams or {}, "routes": [*routes, *LOCAL_ROUTES], "widgets": widgets}
    given: dict[str, object] = {
        "mode": "TEST",
        "postgres_dsn": dsn,
        "jwt_public_key": public_pem(),
        "data_dir": tmp_path,
        "default_model": "scripted",
        "log_level": 40,
        **values,
    }
    return Settings(gateway=GatewayFile.model_validate(rows), **given)  # type: ignore[arg-type] # checked by pydantic
