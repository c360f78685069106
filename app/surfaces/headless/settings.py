"""What a program without a gateway is set to: the environment and `.env`, its state folder, and no door.

The route table is not read: nobody comes in. The database is the folder's own, whatever `POSTGRES_DSN` says, because
whoever works on a queue works on everybody's runs in it; agents reach no front door, which would not know their tokens.
"""

import os
from pathlib import Path

from app.settings import Settings, load_dotenv, read_settings

DEFAULTS = """
[settings]
log_level = 40
approval_unattended = "deny"
"""
"""in place of the gateway's: what is printed is the answer, and nobody is there to be asked"""
NO_TOKENS = 'jwt_jwks_url = "http://headless.invalid/jwks.json"\n'
"""nobody shows any, but the gateway's settings ask for one of the two"""


def headless_settings(folder: Path, *, model: str = "") -> Settings:
    """Errors: ConfigurationInvalid."""
    load_dotenv()
    has_keys = any(os.environ.get(name) for name in ("JWT_PUBLIC_KEY", "JWT_JWKS_URL"))
    content = DEFAULTS if has_keys else DEFAULTS + NO_TOKENS
    settings = read_settings(folder / "gateway.toml", content=content.encode())
    own = {"data_dir": folder, "postgres_dsn": "", "front_door_url": "", "table_source": None}
    return settings.model_copy(update={**own, **({"default_model": model} if model else {})})
