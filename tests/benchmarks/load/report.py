"""What a load has shown, in words."""

import re
from collections.abc import Sequence
from statistics import median

from tests.benchmarks.figures import percentile, table
from tests.benchmarks.load.talk import Outcome

STAGES = ("waiting", "preparing", "first_word", "sending")
BUCKET = re.compile(r'memtrix_stage_seconds_bucket\{le="([^"]+)",stage="(\w+)"\} (\S+)')


def report(outcomes: dict[str, list[Outcome]], statements: int) -> str:
    """Tables in which several subjects stand beside each other."""
    parts = [_summary(outcomes), _stages(outcomes)]
    for name, several in outcomes.items():
        if any(several[-1].memory):
            parts.append(f"Memory of {name}, MB, after each tenth part: " + _memory(several[-1]))
        if statements:
            parts.append(f"Statements of {name}:\n\n" + _statements(several[-1], statements))
    return "\n\n".join(parts)


def _summary(outcomes: dict[str, list[Outcome]]) -> str:
    rows: list[list[str]] = [[] for _ in range(5)]
    for several in outcomes.values():
        rows[0].append(_of(several, lambda o: len(o.ways) / o.seconds, ".1f"))
        rows[1].append(_of(several, _spread, ".2f"))
        rows[2].append(_of(several, _longest, ".2f"))
        rows[3].append(
            ", ".join(
                f"{name} " + _of(several, lambda o, n=name: o.cpu[n] / len(o.ways) * 1000, ".1f")  # type: ignore[misc]
                for name in several[0].cpu
            )
        )
        rows[4].append(_of(several, lambda o: o.round_trips / len(o.ways), ".1f"))
    names = (
        "messages a second",
        "first to last first request at the model, s",
        "all first messages answered after, s",
        "processor per message, ms",
        "statements per message",
    )
    return table(("", *outcomes), [(n, *row) for n, row in zip(names, rows, strict=True)])


def _of(several, figure, form: str) -> str:  # type: ignore[no-untyped-def]
    return format(median(map(figure, several)), form)


def _spread(o: Outcome) -> float:
    asked = [way.asked for way in o.first]
    return max(asked) - min(asked)


def _longest(o: Outcome) -> float:
    return max(way.seen for way in o.first) - min(way.said for way in o.first)


def _stages(outcomes: dict[str, list[Outcome]]) -> str:
    head = ("seconds, p50 / p95 / p99", *outcomes)
    rows = []
    kinds = {
        "said → taken": lambda w: (w.said, w.taken),
        "taken → at the model": lambda w: (w.taken, w.asked),
        "said → at the model": lambda w: (w.said, w.asked),
        "model": lambda w: (w.asked, w.told),
        "model's end → seen": lambda w: (w.told, w.seen),
        "the whole way": lambda w: (w.said, w.seen),
    }
    for name, ends in kinds.items():
        row = [name]
        for several in outcomes.values():
            pairs = [ends(way) for o in several for way in o.ways]
            row.append(_three([max(0.0, b - a) for a, b in pairs if None not in (a, b)]))
        rows.append(row)
    for stage in STAGES:
        row = [f"inside: {stage}, about"]
        row += [_within(several[-1].inside, stage) for several in outcomes.values()]
        rows.append(row)
    return table(head, rows)


def _three(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return " / ".join(f"{percentile(values, share):.3f}" for share in (0.5, 0.95, 0.99))


def _within(inside: dict[str, str], stage: str) -> str:
    """Percentiles from the histograms of all processes, whose buckets are coarse."""
    counts: dict[float, float] = {}
    for text in inside.values():
        for border, found, number in BUCKET.findall(text):
            if found == stage:
                counts[float(border)] = counts.get(float(border), 0.0) + float(number)
    if not counts:
        return "-"
    return " / ".join(_between(sorted(counts.items()), share) for share in (0.5, 0.95, 0.99))


def _between(buckets: list[tuple[float, float]], share: float) -> str:
    rank, low, before = share * buckets[-1][1], 0.0, 0.0
    for border, number in buckets:
        if number >= rank and number > before:
            if border == float("inf"):
                return f"> {low:g}"
            return f"{low + (border - low) * (rank - before) / (number - before):.3f}"
        low, before = border, number
    return "-"


def _memory(o: Outcome) -> str:
    names = o.memory[0]
    return "; ".join(f"{n} " + " ".join(f"{part[n]:.0f}" for part in o.memory) for n in names)


def _statements(o: Outcome, most: int) -> str:
    rows = [
        (f"{calls / len(o.ways):.2f}", f"{ms / len(o.ways):.3f}", " ".join(sql.split())[:100])
        for sql, calls, ms in sorted(o.statements, key=lambda s: -s[2])[:most]
    ]
    return table(("per message", "ms per message", "statement"), rows)
