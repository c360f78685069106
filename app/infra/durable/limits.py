"""How much may be kept of one run, in each of its documents, and what else has a bound."""

MAX_INPUT_BYTES = 256 * 1024
MAX_SIGNAL_BYTES = 256 * 1024
MAX_RESULT_BYTES = 1024 * 1024
MAX_STEP_BYTES = 1024 * 1024
MAX_STEPS = 10_000
MAX_NAME_CHARS = 240
MAX_REASON_CHARS = 500
SHORT_SLEEP_S = 0.5
"""so short a rest is slept on the spot"""
