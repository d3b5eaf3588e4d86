"""Passages that were never written: words as often as in a language, vectors in clusters."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import accumulate

from memtrix_as.db.passages import Row

VOCABULARY = 60_000
TOPICS = 500
PEOPLE = ("@reader:memtrix.local",)


class Corpus:
    """The same passages at every run. Words follow Zipf and Mandelbrot's law; a vector is its
    topic's with noise, since independent ones would have no neighbours that a graph could find."""

    def __init__(self, dimensions: int, seed: int = 7) -> None:
        self._chance = random.Random(seed)
        self._dimensions = dimensions
        weights = [1 / (rank + 2.7) ** 1.07 for rank in range(1, VOCABULARY + 1)]
        self._cumulative = list(accumulate(weights))
        self._names = [f"w{rank}" for rank in range(VOCABULARY)]
        self._topics = [self._gauss(1.0) for _ in range(TOPICS)]

    def rows(self, count: int) -> Iterator[Row]:
        for n in range(count):
            length = min(300, max(20, round(self._chance.lognormvariate(4.4, 0.35))))
            words = self._words(length)
            text = " ".join(words)
            day = date(2024, 1, 1) + timedelta(days=n * 1000 // max(1, count))
            yield Row(n, day, "", [text], text, n.to_bytes(8, "big"), Counter(words), PEOPLE)

    def question(self) -> list[str]:
        """Eight words: four as they come, mostly common, and four rare ones of some passage."""
        rare = [word for word in self._words(200) if int(word[1:]) > 60]
        return self._words(4) + rare[:4]

    def vector(self) -> list[float]:
        topic = self._chance.choice(self._topics)
        noisy = [x + y for x, y in zip(topic, self._gauss(0.6), strict=True)]
        return _unit(noisy)

    def _words(self, count: int) -> list[str]:
        return self._chance.choices(self._names, cum_weights=self._cumulative, k=count)

    def _gauss(self, length: float) -> list[float]:
        """A random vector of about this length."""
        spread = length / math.sqrt(self._dimensions)
        return [self._chance.gauss(0, spread) for _ in range(self._dimensions)]


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]
