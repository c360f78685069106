"""What whoever signs the tokens that API keys are exchanged for has in common with the door that checks them."""

from dataclasses import dataclass, field

from app.kernel.run_tokens import LIFE_S as LIFE_OF_RUN_TOKENS_S

KEY_ID_PREFIX = "portico-session-"
KEY_CLAIM = "key"
"""names the API key by its mark"""
LIFE_S = LIFE_OF_RUN_TOKENS_S
"""as long as a run's: published keys stay for as long as that behind the last token they may have signed"""


@dataclass(frozen=True, slots=True)
class SessionToken:
    """`expires_at_s` is in seconds since the epoch."""

    text: str = field(repr=False)
    expires_at_s: float
