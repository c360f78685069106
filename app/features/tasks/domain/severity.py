"""How bad it is what came of a run."""

from enum import StrEnum


class Severity(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
