"""Why there is no embedded database, in words that name the mend; shown to whoever starts the program."""

from pathlib import Path


class EmbeddedPostgresUnavailable(Exception):
    """The embedded database cannot be used; the message says what to do about it."""


class BinariesMissing(EmbeddedPostgresUnavailable):
    """No PostgreSQL programs were found, or those found do not run here."""


class FolderRefused(EmbeddedPostgresUnavailable):
    """The folder belongs to somebody else, cannot be reached, or holds something that is not ours."""


class OtherMajorVersion(EmbeddedPostgresUnavailable):
    """The folder holds a database of another major version than the binaries."""


class DiskFull(EmbeddedPostgresUnavailable):
    """There is no room for the database's files."""


class StillBusy(EmbeddedPostgresUnavailable):
    """Another process starts, stops or recovers the same database, for longer than we wait."""


class ServerDidNotStart(EmbeddedPostgresUnavailable):
    """PostgreSQL gave up; the message ends with its own last words."""


_INSTEAD = "or set POSTGRES_DSN to use a PostgreSQL of your own"
_LAST_WORDS_CHARS = 1500


def explain(output: str, home: Path) -> EmbeddedPostgresUnavailable:
    """Turn what initdb, createdb or the server printed before it gave up into an error with a mend."""
    last_words = output.strip()[-_LAST_WORDS_CHARS:]
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return DiskFull(f"the disk that holds {home} is full: free about 100 MB, {_INSTEAD}")
    if "incompatible with server" in output or "not compatible with this version" in output:
        return OtherMajorVersion(
            f"{home} was written by another PostgreSQL: move the folder aside, {_INSTEAD}\n{last_words}"
        )
    if "pre-existing shared memory block" in output or "lock file" in output:
        return StillBusy(f"another PostgreSQL runs on {home}: stop it, {_INSTEAD}\n{last_words}")
    if "error while loading shared libraries" in output or "Library not loaded" in output:
        return BinariesMissing(f"the PostgreSQL binaries do not run on this system: {last_words}\n{_INSTEAD}")
    return ServerDidNotStart(f"the embedded PostgreSQL in {home} did not start, mend it {_INSTEAD}:\n{last_words}")
