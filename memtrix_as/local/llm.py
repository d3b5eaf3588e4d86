"""The server of a small local model: llama.cpp behind an OpenAI-compatible API.

`python -m memtrix_as.local.llm MODEL.gguf PORT`; `local.small_model` runs it.
"""

import os
import signal
import sys
import threading

import xllamacpp

from memtrix_as.local.small_model import NAME

CONTEXT = 8192  # tokens: what SmolLM2 was trained with


def serve(model: str, port: int) -> None:
    """Answer until SIGTERM."""
    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.model_alias = {NAME}  # what it is called in the list of models
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.n_ctx = CONTEXT
    settings.n_parallel = 1
    # One thread: with more, on cores that others use too, llama.cpp's spinning makes it 20 times
    # slower instead of faster.
    settings.cpuparams.n_threads = 1
    settings.cpuparams_batch.n_threads = 2
    settings.sampling.penalty_repeat = 1.15  # a model this small gets caught in loops
    settings.use_jinja = True
    settings.ui = False
    settings.warmup = False
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    ended.wait()
    # Its destructor can wait for ever for a request that it works on, and keep the port with it.
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
