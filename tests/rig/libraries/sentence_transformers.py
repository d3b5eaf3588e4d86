"""Stands in for the library of that name in the process of an embedding model: the model `slow`
takes a second for each text, `asleep` a minute to load, `missing` is not there; a vector tells
the length of its text."""

import array
import time
from collections.abc import Sequence
from typing import Any


class Vectors:
    """As much of an array as the process uses."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.shape = (len(rows), len(rows[0]))
        self._rows = rows

    def astype(self, kind: str) -> "Vectors":
        assert kind == "float32"
        return self

    def tobytes(self) -> bytes:
        return array.array("f", [x for row in self._rows for x in row]).tobytes()


class SentenceTransformer:
    def __init__(self, model: str, device: str, trust_remote_code: bool) -> None:
        assert device == "cpu" and not trust_remote_code
        if model == "missing":
            raise OSError("there is no such model")
        if model == "asleep":
            time.sleep(60)
        print("what a library has to say")
        self._model = model

    def encode(self, texts: Sequence[str], **_: Any) -> Vectors:
        if self._model == "slow":
            time.sleep(len(texts))
        return Vectors([[float(len(text)), 0.0] for text in texts])

    encode_document = encode

    def encode_query(self, texts: Sequence[str], **options: Any) -> Vectors:
        return self.encode(["query " + text for text in texts], **options)
