"""The command that delivers something to a new webhook, to be pasted into a shell as it is. Pure."""

import shlex

from app.features.tasks.domain.signatures import Bearer, Hmac, Scheme, Standard, key_of
from app.infra.wire.standard_webhooks import ID, SIGNATURE, TIMESTAMP

BODY = '{"hello":"world"}'
_POST = "curl -sS -X POST -H 'Content-Type: application/json'"


def curl_line(url: str, scheme: Scheme, secret: str) -> str:
    """Write one line for a POSIX shell with curl and, where something is signed, openssl; it signs what it sends.

    The secret stands in it: it is shown once, like the secret.
    """
    match scheme:
        case Standard():
            return _standard(url, secret)
        case Hmac():
            return _hmac(url, scheme, secret)
        case Bearer():
            return f"{_POST} -H {shlex.quote(f'Authorization: Bearer {secret}')} --data {shlex.quote(BODY)} {_url(url)}"


def _standard(url: str, secret: str) -> str:
    return (
        f"body={shlex.quote(BODY)}; id=msg_$(openssl rand -hex 12); at=$(date +%s); "
        f'sig=$(printf %s "$id.$at.$body" | {_openssl(key_of(secret), "base64")}); '
        f'{_POST} -H "{ID}: $id" -H "{TIMESTAMP}: $at" -H "{SIGNATURE}: v1,$sig" --data "$body" {_url(url)}'
    )


def _hmac(url: str, scheme: Hmac, secret: str) -> str:
    head, _, tail = scheme.base.partition("{body}")
    signed = f'{_words(head)}"$body"{_words(tail)}'
    headers = [f'{_POST} -H {shlex.quote(f"{scheme.header}: {scheme.prefix}")}"$sig"']
    if scheme.timestamp_header:
        headers.append(f'-H {shlex.quote(f"{scheme.timestamp_header}: ")}"$at"')
    if scheme.id_header:
        headers.append(f'-H {shlex.quote(f"{scheme.id_header}: ")}"$(openssl rand -hex 16)"')
    return (
        f"body={shlex.quote(BODY)}; at=$(date +%s); "
        f"sig=$(printf %s {signed} | {_openssl(secret.encode(), scheme.encoding)}); "
        f'{" ".join(headers)} --data "$body" {_url(url)}'
    )


def _words(base: str) -> str:
    """Quote what stands around the body, but for the timestamp."""
    return '"$at"'.join(shlex.quote(part) if part else "" for part in base.split("{timestamp}"))


def _openssl(key: bytes, encoding: str) -> str:
    written = "od -An -v -tx1 | tr -d ' \\n'" if encoding == "hex" else "base64 | tr -d '\\n'"
    return f"openssl dgst -sha256 -mac HMAC -macopt hexkey:{key.hex()} -binary | {written}"


def _url(url: str) -> str:
    return shlex.quote(url)
