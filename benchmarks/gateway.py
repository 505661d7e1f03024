#!/usr/bin/env python3
"""What the gateway adds, and what it lets callers notice of planned operations. By itself it adds its figures to build/bench.json.

    python benchmarks/gateway.py             what it adds, and one round of planned operations with answers of up to 8 s
    python benchmarks/gateway.py adds        what it adds alone
    python benchmarks/gateway.py faults      for how long nobody is answered when a backend, its host or the gateway dies; needs root
    python benchmarks/gateway.py soak        three rounds of planned operations with answers of up to 60 s; ends with 1 if a request failed

Gateway, engines and callers share one machine. The engine of the first figures is a stand-in that only sends tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/unit")]
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
STREAMS, TOKENS, PAUSE = 64, 100, 0.02
ASKED = 400  # requests of a round, on each side
Figure = dict[str, Any]
CALLERS = {
    "bench": {"keys": ["bench-key-for-figures-0123456789"], "requests_per_minute": 1_000_000, "concurrency": 1000}
}
KEY = CALLERS["bench"]["keys"][0]  # type: ignore[index]


async def completions(request: web.Request) -> web.StreamResponse:
    """One short answer, or a stream of TOKENS tokens at a steady pace."""
    body = await request.json()
    if not body.get("stream"):
        return web.json_response({"choices": [{"message": {"content": "4"}}]})
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for number in range(TOKENS):
        await answer.write(b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % number)
        await asyncio.sleep(PAUSE)
    await answer.write(b"data: [DONE]\n\n")
    return answer


def engine(port: int) -> None:
    """Serve until it is ended."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", completions)
    app.router.add_get("/health", lambda _: web.Response())
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def one(session: aiohttp.ClientSession, url: str, stream: bool) -> tuple[float, int]:
    """(seconds to the last byte, tokens)."""
    body = {"model": "demo", "stream": stream, "messages": [{"role": "user", "content": "2+2"}]}
    began = time.perf_counter()
    async with session.post(url, json=body) as answer:
        text = await answer.text()
    assert answer.status == 200, text
    return time.perf_counter() - began, text.count('"content"')


async def latencies(session: aiohttp.ClientSession, urls: list[str]) -> list[tuple[float, float]]:
    """(median, p99) of short requests in milliseconds at each address, asked in turn so that both meet the same noise."""
    found: list[list[float]] = [[] for _ in urls]
    for _ in range(ASKED):
        for number, url in enumerate(urls):
            found[number].append(1000 * (await one(session, url, False))[0])
    return [(statistics.median(times), statistics.quantiles(times, n=100)[98]) for times in found]


async def rate(session: aiohttp.ClientSession, url: str) -> float:
    """Tokens a second of all streams together."""
    began = time.perf_counter()
    done = await asyncio.gather(*(one(session, url, True) for _ in range(STREAMS)))
    return sum(tokens for _, tokens in done) / (time.perf_counter() - began)


async def compare(direct: str, through: str) -> tuple[list[list[tuple[float, float]]], list[float]]:
    """([(median, p99) direct, (median, p99) through] of each round, ratio of token rates of each round)."""
    headers = {"Authorization": f"Bearer {KEY}"}
    added, ratios = [], []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        for _ in range(RUNS):
            added.append(await latencies(session, [direct, through]))
            plain, gated = await rate(session, direct), await rate(session, through)
            ratios.append(gated / plain)
    return added, ratios


def what_it_adds() -> list[Figure]:
    """gateway_added_ms_p99 and gateway_tokens_ratio: HAProxy with our configuration against the engine itself, on loopback, without TLS."""
    import conftest  # noqa: F401  puts module_utils on the path
    from gate import Gate, record, until
    from ports import free_port

    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, "engine", str(port)])
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as folder:
            served = type("Engine", (), {"port": port, "model": "demo"})()
            row = record(served, "here", gateway={"concurrent": 1000})
            gate = Gate(Path(folder) / "g", [row], CALLERS)
            try:
                until(lambda: gate.status("here.demo") == "UP", 60)
                added, ratios = asyncio.run(compare(f"http://127.0.0.1:{port}/v1/chat/completions", gate.url))
            finally:
                gate.close()
    finally:
        process.terminate()
        process.wait(30)
    base = {"runs": RUNS, "command": "benchmarks/gateway.py"}
    middle, more = ([through[place] - direct[place] for direct, through in added] for place in (0, 1))
    peer = f"the engine itself: {statistics.median(direct[1] for direct, _ in added):.2f} ms"
    return [
        {**base, "name": "gateway_added_ms_p99", "value": round(statistics.median(more), 2), "unit": "ms", "peer": peer, "ratio": None,
         "includes": f"p99 of {ASKED} short requests above the same ones asked directly, in turn; rounds from {min(more):.2f} to {max(more):.2f}; "
         f"at the median {statistics.median(middle):.2f} ms"},
        {**base, "name": "gateway_tokens_ratio", "value": round(statistics.median(ratios), 3), "unit": "", "peer": None, "ratio": None,
         "includes": f"tokens a second of {STREAMS} streams of {TOKENS} tokens against the engine itself; from {min(ratios):.3f} to {max(ratios):.3f}"},
    ]  # fmt: skip


def operations(fleet: Any) -> dict[str, Any]:
    """{name: what an operator does}, in an order in which each finds what it needs."""
    keys = {"demo": "another-backend-key-0123456789"}

    def killed() -> None:
        """A restart that is killed while its service is out, then what puts it back."""
        from gate import until

        process = fleet.start("playbooks/restart.yml", "-l", "one", service="demo")
        until(lambda: "one.demo" in fleet.out(), 300)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        fleet.play("playbooks/start.yml", "-l", "one", service="demo")

    return {
        "upgrade": lambda: fleet.play("playbooks/upgrade.yml", stub_row="b"),
        "rollback": lambda: fleet.play("playbooks/rollback.yml", service="demo"),
        "restart, killed": killed,
        "maintenance": lambda: fleet.play("playbooks/maintenance.yml", "-l", "two"),
        "a new key": lambda: fleet.play("playbooks/rotate_key.yml", service="demo", api_keys=keys),
        "gateway reload": lambda: fleet.play("playbooks/gateway.yml", api_keys=keys),
        "the old key ends": lambda: fleet.play("playbooks/rotate_key.yml", service="demo", finish=True, api_keys=keys),
        "the first key again": lambda: fleet.play("playbooks/rotate_key.yml", service="demo"),
    }


def planned(rounds: int, longest: float) -> list[Figure]:
    """gateway_failed_requests: requests that failed or were cut while two hosts went through planned operations, 50 asked each second."""
    import conftest
    from gate import until
    from gated import fleet_of

    told, asked, failed = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        tools = conftest.make_tools(Path(folder) / "t")
        with fleet_of(Path(folder), tools, {host: {"runs": ["demo"]} for host in ("one", "two")}) as fleet:
            fleet.play("deploy.yml")
            until(lambda: set(fleet.states().values()) == {"UP"}, 120)
            for _ in range(rounds):
                for name, act in operations(fleet).items():
                    began = time.monotonic()
                    with fleet.load(longest=longest) as load:
                        act()
                    bad = {words: count for words, count in load.told().items() if words != "ok"}
                    asked, failed = asked + len(load.outcomes), failed + sum(bad.values())
                    told.append(name)
                    print(
                        f"{name}: {len(load.outcomes)} requests in {time.monotonic() - began:.0f} s, failed: {bad or 0}",
                        flush=True,
                    )
    return [
        {"name": "gateway_failed_requests", "value": failed, "unit": "", "peer": None, "ratio": None, "runs": rounds, "command": "benchmarks/gateway.py",
         "includes": f"of {asked} requests of 0.1 to {longest:g} s, 50 a second, half of them streams, during: {', '.join(dict.fromkeys(told))}"},
    ]  # fmt: skip


def faults() -> list[Figure]:
    """gateway_fault_seconds: the longest time without an answer that ended well, of 25 requests a second, in the worst fault of a backend."""
    import conftest  # noqa: F401  puts module_utils on the path
    from faulty import FAULTS, bad, faulty_site

    gaps, told = {}, []
    for name, act in FAULTS.items():
        with tempfile.TemporaryDirectory(prefix="bench") as folder, faulty_site(Path(folder) / "g") as site:
            with site.load() as load:
                time.sleep(1)
                moment = act(site)
                time.sleep(2)
            gaps[name] = load.gap()
            slowest = max(one.ended - one.began for one in load.outcomes if one.began > moment and one.words == "ok")
            told.append(
                f"{name}: {gaps[name]:.1f} s, {len(bad(load))} of {len(load.outcomes)} failed, the slowest new one took {slowest:.1f} s"
            )
            print(told[-1], flush=True)
    return [
        {"name": "gateway_fault_seconds", "value": round(max(gap for name, gap in gaps.items() if "backend" in name), 1), "unit": "s", "peer": None,
         "ratio": None, "runs": 1, "command": "benchmarks/gateway.py faults", "includes": f"the longest time without a good answer: {'; '.join(told)}"},
    ]  # fmt: skip


def figures(_site: Any = None) -> list[Figure]:
    """All figures of the gateway."""
    return what_it_adds() + planned(1, 8)


def main() -> None:
    if sys.argv[1:2] == ["engine"]:
        engine(int(sys.argv[2]))
        return
    soak = sys.argv[1:] == ["soak"]
    parts = {"soak": lambda: planned(3, 60), "adds": what_it_adds, "faults": faults}
    found = parts.get(" ".join(sys.argv[1:]), figures)()
    place = ROOT / "build/bench.json"
    place.parent.mkdir(exist_ok=True)
    names = {figure["name"] for figure in found}
    others = [old for old in json.loads(place.read_text()) if old["name"] not in names] if place.exists() else []
    place.write_text(json.dumps([*others, *found], indent=2) + "\n")
    for figure in found:
        print(f"{figure['name']:24} {figure['value']} {figure['unit']}  {figure['includes']}")
    sys.exit(1 if soak and found[0]["value"] else 0)


if __name__ == "__main__":
    main()
