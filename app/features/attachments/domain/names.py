"""Names of files, as they are kept and shown: no path, nothing that cannot be seen, and no longer than others are."""

import unicodedata

NAME_LIMIT_CHARS = 255
_SUFFIX_LIMIT_CHARS = 16
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""controls, marks that turn what follows around, surrogates, what is no character, ends of lines"""


def clean_name(given: str, *, suffix: str) -> str:
    """Keep the last part of a path; a name of nothing becomes `attachment` with a suffix."""
    last = given.replace("\\", "/").rpartition("/")[2]
    seen = "".join(char for char in last if unicodedata.category(char) not in _UNSEEN)
    name = unicodedata.normalize("NFC", seen).strip(" .")
    if not name:
        return f"attachment.{suffix}"
    if len(name) <= NAME_LIMIT_CHARS:
        return name
    stem, dot, end = name.rpartition(".")
    if not dot or len(end) > _SUFFIX_LIMIT_CHARS:
        return name[:NAME_LIMIT_CHARS]
    return f"{stem[: NAME_LIMIT_CHARS - len(end) - 1]}.{end}"
