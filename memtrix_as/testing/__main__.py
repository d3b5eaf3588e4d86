"""Run a scripted model by itself: `python -m memtrix_as.testing --port N`."""

import argparse
import asyncio

from memtrix_as.testing import ScriptedModel


async def _serve(port: int) -> None:
    async with ScriptedModel(port) as model:
        print(model.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted model behind an OpenAI-like server")
    parser.add_argument("--port", type=int, default=0)
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
