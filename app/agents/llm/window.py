"""Which part of a conversation fits into a model's window: a decision on values, no model library.

Facts the estimate rests on:
    A byte-pair tokenizer never gives more tokens than the text has UTF-8 bytes.
    Latin letters in words run to three or more a token in the vocabularies in use; digits are split one by one by some
    (SmolLM2 among them), and so may be punctuation and all other scripts' bytes.
So letters and spaces count a third, everything else a token a byte. It errs on the side of too many, except for letters
that are no words; the provider's own refusal catches those (see `model_agent.py`).
"""

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from app.agents.contract import PastMessage

LETTERS_PER_TOKEN = 3
MESSAGE_TOKENS = 8
"""What a chat template puts around one message: role, separators."""

_LETTER = re.compile(r"[A-Za-z ]")


def estimate_tokens(text: str) -> int:
    """Estimate from above; linear in the length of the text."""
    rest = _LETTER.sub("", text)
    letters = len(text) - len(rest)
    return -(-letters // LETTERS_PER_TOKEN) + len(rest.encode("utf-8", "surrogatepass"))


def tokens_of(messages: Iterable[PastMessage]) -> int:
    return sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in messages)


def fit(history: Sequence[PastMessage], *, limit_tokens: int) -> tuple[PastMessage, ...]:
    """Keep the newest whole turns that fit, and the system messages whatever their age.

    A turn is what the user said up to what the assistant answered; none is cut in half, so that the result never
    starts with an answer to a question the model cannot see. System messages take at most half of the limit, newest
    first. The order stays.
    """
    system = [position for position, message in enumerate(history) if message.role == "system"]
    kept = set(_newest([[position] for position in system], history, limit_tokens // 2))
    room = limit_tokens - tokens_of(history[position] for position in kept)
    kept |= set(_newest(_turns(history), history, room))
    return tuple(history[position] for position in sorted(kept))


def _turns(history: Sequence[PastMessage]) -> list[list[int]]:
    """Group positions into turns; answers before the first question belong to none."""
    turns: list[list[int]] = []
    is_answered = True
    for position, message in enumerate(history):
        if message.role == "user" and is_answered:
            turns.append([])
        if message.role != "system" and turns:
            turns[-1].append(position)
            is_answered = message.role == "assistant"
    return turns


def _newest(groups: Sequence[Sequence[int]], history: Sequence[PastMessage], limit_tokens: int) -> list[int]:
    left = limit_tokens

    def still_fits(group: Sequence[int]) -> bool:
        nonlocal left
        left -= tokens_of(history[position] for position in group)
        return left >= 0

    return [position for group in takewhile(still_fits, reversed(groups)) for position in group]
