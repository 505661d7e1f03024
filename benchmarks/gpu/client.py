"""Load on an OpenAI-compatible endpoint: random prompts of token ids, a fixed number of output tokens, streamed.

    client.py URL MODEL KEY --prompt 512 --output 64 --vocab 150000 --concurrency 1,16,64,256
One JSON line a concurrency: out_tokens_per_s, first token (median, s), time per output token (median, s).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from typing import Any

import aiohttp


async def one(session: aiohttp.ClientSession, given: Any, seed: int) -> tuple[float, float, int]:
    """(seconds to the first token, seconds in all, tokens) of one request."""
    pick = random.Random(seed)
    prompt = [pick.randrange(1000, given.vocab) for _ in range(given.prompt)]
    body = {
        "model": given.model, "prompt": prompt, "max_tokens": given.output, "ignore_eos": True, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    began, first, tokens = time.monotonic(), 0.0, 0
    async with session.post(f"{given.url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for raw in answer.content:
            line = raw.decode().strip()
            if not line.startswith("data:") or line.endswith("[DONE]"):
                continue
            event = json.loads(line[5:])
            if event.get("choices") and not first:
                first = time.monotonic() - began
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
    return first, time.monotonic() - began, tokens


async def load(given: Any, concurrency: int, seed: int) -> dict[str, Any]:
    count = {1: 4, 16: 48}.get(concurrency, concurrency * 2)
    queue = list(range(count))
    rows: list[tuple[float, float, int]] = []
    timeout = aiohttp.ClientTimeout(total=600)
    headers = {"Authorization": f"Bearer {given.key}"}
    async with aiohttp.ClientSession(
        timeout=timeout, headers=headers, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def worker() -> None:
            while queue:
                rows.append(await one(session, given, seed + queue.pop()))

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        wall = time.monotonic() - began
    tokens = sum(row[2] for row in rows)
    return {
        "concurrency": concurrency, "requests": count, "seconds": round(wall, 2), "out_tokens_per_s": round(tokens / wall, 1),
        "first_token_s": round(statistics.median(row[0] for row in rows), 4),
        "per_token_s": round(statistics.median((row[1] - row[0]) / max(1, row[2] - 1) for row in rows), 5),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "model", "key"):
        parser.add_argument(name)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=150_000)
    parser.add_argument("--concurrency", default="1,16,64,256")
    given = parser.parse_args()
    asyncio.run(load(given, 4, 10_000))  # kernels that are still to be compiled don't count
    for number, concurrency in enumerate(map(int, given.concurrency.split(","))):
        print(json.dumps(asyncio.run(load(given, concurrency, 100_000 * (number + 1)))), flush=True)


if __name__ == "__main__":
    main()
