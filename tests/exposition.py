"""A strict reader of Prometheus' text format 0.0.4: what it refuses, a scraper may refuse or misread."""

import math
import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_PAIR = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"(?P<name>{_NAME})(?:\{{(?P<labels>{_PAIR}(?:,{_PAIR})*)\}})? (?P<value>\S+)")
_HELP = re.compile(rf"# HELP (?P<name>{_NAME}) (?P<text>(?:[^\\\n]|\\[\\n])+)")
_TYPE = re.compile(rf"# TYPE (?P<name>{_NAME}) (?P<kind>counter|gauge|histogram)")
_LABEL = re.compile(r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\\n]|\\["\\n])*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

type Labels = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Read:
    kind: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, name: str, /, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


def read_exposition(text: str) -> dict[str, Read]:
    """Read and check everything: order, names, types, labels, duplicates, and that histograms add up."""
    assert text.endswith("\n")
    families: dict[str, Read] = {}
    lines = text[:-1].split("\n")
    while lines:
        described, typed = _HELP.fullmatch(lines.pop(0)), _TYPE.fullmatch(lines.pop(0))
        assert described, "each family begins with its HELP"
        assert typed, "and goes on with its TYPE"
        name = described["name"]
        assert typed["name"] == name
        assert name not in families, f"{name} stands twice"
        families[name] = Read(typed["kind"])
        while lines and not lines[0].startswith("#"):
            _take(families[name], name, lines.pop(0))
        _check(name, families[name])
    return families


def _take(family: Read, name: str, line: str) -> None:
    sample = _SAMPLE.fullmatch(line)
    assert sample, line
    suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
    assert sample["name"] in {name + suffix for suffix in suffixes}, line
    pairs = [(found["name"], _plain(found["value"])) for found in _LABEL.finditer(sample["labels"] or "")]
    assert len(dict(pairs)) == len(pairs), f"a label stands twice: {line}"
    key = sample["name"], frozenset(pairs)
    assert key not in family.samples, f"a sample stands twice: {line}"
    family.samples[key] = math.inf if sample["value"] == "+Inf" else float(sample["value"])


def _plain(text: str) -> str:
    return re.sub(r"\\.", lambda found: _ESCAPES[found[0]], text)


def _check(name: str, family: Read) -> None:
    if family.kind == "counter":
        assert name.endswith("_total"), name
        assert all(value >= 0 for value in family.samples.values())
    if family.kind == "histogram":
        groups = {labels for sample, labels in family.samples if sample == f"{name}_count"}
        for labels in groups:
            _check_buckets(name, family, labels)


def _check_buckets(name: str, family: Read, labels: Labels) -> None:
    buckets = sorted(
        (float(dict(have)["le"].replace("+Inf", "inf")), value)
        for (sample, have), value in family.samples.items()
        if sample == f"{name}_bucket" and {pair for pair in have if pair[0] != "le"} == labels
    )
    counts = [count for _, count in buckets]
    assert buckets[-1][0] == math.inf
    assert counts == sorted(counts), f"{name} shrinks"
    assert counts[-1] == family.samples[f"{name}_count", labels]
    assert (f"{name}_sum", labels) in family.samples
