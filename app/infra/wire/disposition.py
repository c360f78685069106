"""`Content-Disposition`, and fields of its shape: a word, and parameters behind it.

Facts
- A value is a token or a quoted string, in which a backslash stands before a quote or another backslash (RFC 9110
  §5.6.4, §5.6.6). Before anything else it is taken as it is: some write Windows paths there.
- `filename*` is UTF-8 or ISO 8859-1, percent-encoded, and comes before `filename` (RFC 6266 §4.3, RFC 8187 §3.2).
- Who does not know `filename*` takes `filename`, so that is written in ASCII (RFC 6266, appendix D).
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

_PARAMETER = re.compile(
    r";\s*(?P<name>[\w!#$&+.^`|~*-]+)\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<token>[^;\s\"]*))"
)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<text>.*)", re.IGNORECASE | re.DOTALL)
_NOT_IN_QUOTES = re.compile(r"[^ !#$&-\[\]-~]")
_PLAIN = "!#$&+-.^_`|~"


def parameters_of(value: str) -> Mapping[str, str]:
    """Read the parameters by their names in lower case, the first of each; `filename*` as `filename`."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        quoted = match["quoted"]
        text = match["token"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        found.setdefault(match["name"].lower(), text)
    extended = _EXTENDED.fullmatch(found.pop("filename*", ""))
    if extended is not None:
        found["filename"] = unquote(extended["text"], extended["charset"], "replace")
    return found


def for_download(name: str) -> str:
    """Write the field that has a browser save what comes under this name instead of showing it."""
    plain = _NOT_IN_QUOTES.sub("_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe=_PLAIN)}"
    return f'attachment; filename="{plain}"{extended}'
