"""Which part of a conversation fits into a model's window: a decision on values, no model library.

Facts the estimate rests on:
    A byte-pair tokenizer never gives more tokens than the text has UTF-8 bytes.
    Latin letters in words run to three or more a token in the vocabularies in use; digits are split one by one by some
    (SmolLM2 among them), and so may be punctuation and all other scripts' bytes.
So letters and spaces count a third, everything else a token a byte. It errs on the side of too many, except for letters
that are no words; the provider's own refusal catches those (see `model_agent.py`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from string import ascii_letters

from app.agents.messages import Attachment, PastMessage

LETTERS_PER_TOKEN = 3
MESSAGE_TOKENS = 8
"""What a chat template puts around one message: role, separators."""

TEXT_SHOWN_CHARS = 100_000
"""of a text that is attached: as much as a message may have"""
IMAGE_TOKENS = 1600
"""what the providers make of an image, at most, or nearly so"""
PDF_BYTES_PER_TOKEN = 25
"""a page has some 50 KB and comes to 2,000 tokens; of one that is scanned this errs upwards"""

_LETTERS = f"{ascii_letters} ".encode()


def estimate_tokens(text: str) -> int:
    """Estimate from above; linear in the length of the text."""
    encoded = text.encode("utf-8", "surrogatepass")
    rest = len(encoded.translate(None, _LETTERS))
    letters = len(encoded) - rest
    return -(-letters // LETTERS_PER_TOKEN) + rest


def tokens_of(messages: Iterable[PastMessage]) -> int:
    return sum(
        estimate_tokens(message.content) + MESSAGE_TOKENS + sum(map(estimate_file, message.attachments))
        for message in messages
    )


def estimate_file(attachment: Attachment) -> int:
    """Estimate what is shown of a file, its name included."""
    named = estimate_tokens(attachment.name) + MESSAGE_TOKENS
    if attachment.content is None:
        return named
    if attachment.is_text:
        return named * 2 + estimate_tokens(text_of(attachment))
    return named + estimate_binary(attachment.media_type, len(attachment.content))


def estimate_binary(media_type: str, size_bytes: int) -> int:
    return IMAGE_TOKENS if media_type.startswith("image/") else max(IMAGE_TOKENS, size_bytes // PDF_BYTES_PER_TOKEN)


def text_of(attachment: Attachment) -> str:
    """Give what is shown of a text."""
    text = (attachment.content or b"").decode("utf-8-sig", "replace")
    left_out = len(text) - TEXT_SHOWN_CHARS
    return text if left_out <= 0 else f"{text[:TEXT_SHOWN_CHARS]}\n[{left_out} more characters are not shown]"


def fit(history: Sequence[PastMessage], *, limit_tokens: int, step_tokens: int) -> tuple[PastMessage, ...]:
    """Keep the newest whole turns that fit, and the system messages whatever their age.

    A turn is what the user said up to what the assistant answered; none is cut in half, so that the result never
    starts with an answer to a question the model cannot see. System messages take at most half of the limit, newest
    first. The order stays. The oldest turns go `step_tokens` at a time: so the prompt starts the same for many turns,
    and what the model's server remembers of it (its prefix cache) is not lost with each.
    """
    system = _newest_that_fit(history, limit_tokens // 2)
    turns = _turns(history)
    room = limit_tokens - tokens_of(history[position] for position in system)
    sizes = [tokens_of(history[position] for position in turn) for turn in turns]
    kept = turns[_cut(sizes, room, step_tokens) :]
    return tuple(history[position] for position in sorted([*system, *chain.from_iterable(kept)]))


def _newest_that_fit(history: Sequence[PastMessage], limit_tokens: int) -> list[int]:
    kept: list[int] = []
    left = limit_tokens
    for position in reversed([at for at, message in enumerate(history) if message.role == "system"]):
        left -= tokens_of([history[position]])
        if left < 0:
            break
        kept.append(position)
    return kept


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


def _cut(sizes: Sequence[int], room: int, step: int) -> int:
    """Say how many of the oldest turns go: enough to fit, then on to a whole number of steps if any turn is left."""
    excess = sum(sizes) - room
    if excess <= 0:
        return 0
    step = max(1, min(step, room // 2))
    dropped = list(accumulate(sizes))
    least = bisect_left(dropped, excess) + 1
    stepped = bisect_left(dropped, -(-excess // step) * step) + 1
    return stepped if stepped < len(sizes) else least
