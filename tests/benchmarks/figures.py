"""Numbers into lines: percentiles and tables."""

import time
from collections.abc import Sequence
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was really measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def ms(values: Sequence[float]) -> str:
    """Median and 95th percentile of seconds, in milliseconds."""
    if not values:
        return "none measured"
    return f"{median(values) * 1000:.1f} / {percentile(values, 0.95) * 1000:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, its columns aligned for a terminal."""
    cells = [[*map(str, row)] for row in (head, *rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
             for row in cells]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def haste() -> float:
    """How much slower than at best the processor runs just now, because others share it."""
    taken = []
    for _ in range(100):
        began = time.thread_time()
        sum(n * n % 7 for n in range(20_000))
        taken.append(time.thread_time() - began)
        time.sleep(0.01)
    return median(taken) / min(taken)
