"""The process of a local embedding model: texts come by stdin, vectors go by stdout.

A request is a line of JSON; its answer a line of JSON with the dimensions, then float32 values.
`python -m memtrix_as.memory.embedding_process MODEL DEVICE </dev/null` fetches the model and ends.
"""

import contextlib
import importlib
import json
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO


def main() -> None:
    model, device = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between the vectors
    # Somebody waits for a question's vector; nobody does for the rest, which is done aside.
    aside = ThreadPoolExecutor(1, initializer=_step_back)
    try:
        encoder = aside.submit(_load, model, device).result()
    except (OSError, ValueError, ImportError, RuntimeError, KeyError) as exc:
        why = f"{type(exc).__name__}: {exc}"
        if sys.stdin.buffer.readline():
            _tell(answers, {"error": why})
            return
        sys.exit(f"{model} cannot be used: {why}")  # nobody asks: it was only to be fetched
    for line in sys.stdin.buffer:
        request = json.loads(line)
        query = request["kind"] == "query"
        ways = {True: encoder.encode_query, False: encoder.encode_document}
        encode = ways[query] if request["own"] else encoder.encode
        work = partial(encode, request["texts"], normalize_embeddings=True, show_progress_bar=False)
        vectors = work() if query else aside.submit(work).result()
        answers.write(json.dumps({"dimensions": int(vectors.shape[1])}).encode() + b"\n")
        answers.write(vectors.astype("float32").tobytes())
        answers.flush()


def _step_back() -> None:
    """Lower this thread's priority, as Linux can; a process could not raise its own again."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _load(model: str, device: str) -> Any:
    # Not an import: sentence-transformers and torch are an extra, some 800 MB that many do
    # without, and importing them takes ten seconds.
    library = importlib.import_module("sentence_transformers")
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    # Never code from a hub: whoever changes a repository there would run in here.
    return library.SentenceTransformer(model, device=device, trust_remote_code=False)


def _tell(answers: BinaryIO, answer: dict[str, str]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
