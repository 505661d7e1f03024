#!/usr/bin/python
"""Module benchmark: one level of load on a running service, and what it measured."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Put a load on a running service and measure it
description:
  - Runs C(bench serve) of O(program) in the service's own environment or image against it, several times with other prompts.
  - Returns each figure with its interval.
  - Callers are protected. Where requests run or wait, or were answered within two seconds, it does nothing and says so, unless O(despite_callers) allows it.
    Where others came meanwhile, RV(others) counts their requests.
  - The client ends at O(limit), whatever becomes of this module. Nothing stays on the host.
options:
  name: {description: The service., type: str, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  concurrency: {description: Requests at once., type: int, default: 1}
  rate: {description: "Requests a second instead, at random intervals.", type: float, default: 0}
  prompt_length: {description: Length of random prompts., type: int, default: 512}
  output_length: {description: Tokens of each answer., type: int, default: 64}
  prompts: {description: "Prompts instead of random ones: a file of this host, JSON lines with C(prompt).", type: path}
  requests: {description: "Requests of one repeat; 0: three rounds of what runs at once.", type: int, default: 0}
  repeats: {description: Repeats. One gives no interval., type: int, default: 3}
  seed: {description: "Of the random prompts. Another one gives prompts that no earlier load has left in a cache.", type: int, default: 0}
  despite_callers: {description: Measure though callers are there., type: bool, default: false}
  limit: {description: Seconds of one repeat., type: int, default: 600}
  program: {description: "The program that measures, as the engine's row names it in C(benchmark); the engine has none without it.", type: str, default: ""}
  activate: {description: "Shell line that enters the environment of the service's image, as its row has it.", type: str, default: ""}
attributes:
  check_mode: {support: full, details: It only says whether it would be allowed.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: How fast is it with 16 callers?
  benchmark:
    name: qwq-32b
    serving_root: /srv/vllm
    concurrency: 16
    program: vllm
"""
RETURN = r"""
level:
  description: The load, and each figure as {mean, half, n}; half is half of a 95 % interval, null of one repeat.
  returned: always
  type: dict
  sample: {concurrency: 16, rate: 0, failed: 0, figures: {output_tokens_per_second: {mean: 723.0, half: 11.2, n: 3}}}
repeats: {description: The figures of each repeat by themselves., returned: always, type: list, elements: dict}
others: {description: Requests of others that were answered meanwhile., returned: always, type: int}
release: {description: The release that was measured., returned: always, type: str}
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service import bench, releases
from ansible.module_utils.serving.service.exchange import Exchange, NotYet

LOOK = 2.0  # seconds between two looks for callers
GRACE = 10  # seconds of a client beyond its limit


def page(spec: dict[str, Any], key: str | None, path: str) -> str:
    """What the service answers to a GET; empty where it has no such page."""
    try:
        with Exchange(str(spec["endpoint"]), "GET", path, key, None, 10.0) as exchange:
            return bytes(exchange.body()).decode("utf-8", "replace") if exchange.status == 200 else ""
    except NotYet as problem:
        raise Refusal("service '%s' can't be measured: %s" % (spec["service"], problem)) from None


def check_lengths(spec: dict[str, Any], key: str | None, given: dict[str, Any]) -> None:
    """Refuse random prompts that the service's context has no room for: each request of them would fail, and only the figures would say so."""
    try:
        most = json.loads(page(spec, key, "/v1/models"))["data"][0]["max_model_len"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return
    asked = given["prompt_length"] + given["output_length"]
    if isinstance(most, int) and asked > most and not given["prompts"]:
        text = (
            "prompts of %d tokens with answers of %d don't fit into the %d tokens of service '%s'; -e prompt_length=%d"
        )
        raise Refusal(
            text
            % (
                given["prompt_length"],
                given["output_length"],
                most,
                spec["service"],
                max(1, most - given["output_length"] - 8),
            )
        )


def quiet(spec: dict[str, Any], key: str | None, callers: bool) -> float | None:
    """Requests answered so far. Refusal where callers are there, or where nobody can tell."""
    first, before = bench.load_of(page(spec, key, "/metrics"))
    time.sleep(LOOK)
    running: float | None
    answered: float | None
    running, answered = bench.load_of(page(spec, key, "/metrics"))
    if running is not None and first is not None:
        running = min(running, first)  # what ran in one look alone is short, or it is counted when it is answered
    if callers:
        return answered
    if running is None:
        text = "service '%s' counts no requests, so nobody can tell whether callers are there; -e despite_callers=true measures all the same"
        raise Refusal(text % spec["service"])
    seen = int((answered or 0) - (before or 0))
    if running or seen:
        text = "service '%s' has callers: %d requests run or wait, %d were answered within %d s; measure when they are gone, or with -e despite_callers=true"
        raise Refusal(text % (spec["service"], running, seen, LOOK))
    return answered


class Place:
    """Where the client runs: on this host, or in the service's container. `activate`: shell line that enters the image's environment."""

    def __init__(self, spec: dict[str, Any], given: dict[str, Any], key: str | None, folder: str) -> None:
        self.container = spec.get("container")
        self.environment = {**os.environ, **bench.ENVIRONMENT, "OPENAI_API_KEY": key or "none"}
        self.folder = folder
        if not self.container:
            self.prefix: list[str] = []
            self.program = os.path.join(os.path.expanduser(str(spec["env_path"])), "bin", given["program"])
            self.model, self.url = str(spec["model"]["path"]), str(spec["endpoint"])
            return
        # By name alone: docker takes the values from our environment.
        names = [word for name in ("OPENAI_API_KEY", *bench.ENVIRONMENT) for word in ("-e", name)]
        self.here = ["docker", "exec", "-i", *names, str(self.container)]
        enter = 'set +u; . /config/environment; %s\nexec "$@"' % given["activate"]
        self.prefix = [*self.here, "/bin/bash" if given["activate"] else "/bin/sh", "-c", enter, "client"]
        self.program, self.model, self.folder = (
            given["program"],
            "/models/" + str(spec["model"]["name"]),
            "/tmp/benchmark",
        )
        _, mode, _ = self.run(["docker", "inspect", "--format", "{{.HostConfig.NetworkMode}}", str(self.container)], 60)
        own = mode.decode().strip() == "host"
        self.url = str(spec["endpoint"]) if own else "http://127.0.0.1:%s" % str(spec["endpoint"]).rpartition(":")[2]

    def run(self, words: list[str], limit: float, said: bytes = b"") -> tuple[int, bytes, bytes]:
        """(code, output, errors) of a command of this host; code 124 where it took too long."""
        try:
            done = subprocess.run(
                words, input=said, env=self.environment, capture_output=True, timeout=limit, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 124, b"", str(error).encode()
        return done.returncode, done.stdout, done.stderr

    def shell(self, text: str, said: bytes = b"") -> bytes:
        return self.run([*(self.here if self.container else []), "/bin/sh", "-c", text], 60, said)[1]

    def clear(self) -> None:
        """Leave nothing. The folder on a host is its maker's."""
        if self.container:
            self.shell("rm -rf " + self.folder)


def client(place: Place, spec: dict[str, Any], given: dict[str, Any], seed: int) -> dict[str, Any]:
    """Run the client once; its result. Refusal with its last words."""
    prompts = b""
    if given["prompts"]:
        with open(given["prompts"], "rb") as source:
            prompts = source.read()
    place.shell("mkdir -p {0} && rm -f {0}/result.json && cat > {0}/prompts.jsonl".format(place.folder), prompts)
    words = [*bench.command(given, {**spec, "endpoint": place.url}, place.model, seed), "--result-dir", place.folder]
    if given["prompts"]:
        words += ["--dataset-path", place.folder + "/prompts.jsonl"]
    bounded = ["timeout", "-k", "5", str(given["limit"]), place.program, *words]
    code, out, errors = place.run([*place.prefix, *bounded], given["limit"] + GRACE)
    try:
        return dict(json.loads(place.shell("cat %s/result.json" % place.folder)))
    except ValueError:
        pass
    if code == 124:
        raise Refusal("one repeat took more than %d s; ask for fewer requests, or raise limit" % given["limit"])
    last = " ".join((out + errors).decode("utf-8", "replace").split())[-600:]
    raise Refusal("the client (%s bench serve) ended with code %d and gave no result: %s" % (place.program, code, last))


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root, name = given["serving_root"], given["name"]
    run, spec = releases.running_release(root, name), releases.current_spec(root, name)
    if run is None or spec is None:
        raise Refusal("service '%s' does not run on this host; start it first" % name)
    if not given["program"]:
        text = (
            "service '%s': its engine brings no client that measures a load; measure with one of your own, against %s"
        )
        raise Refusal(text % (name, spec["endpoint"]))
    bench.kind_of(spec)
    key = releases.read_key(releases.service_dir(root, name))
    check_lengths(spec, key, given)
    answered = quiet(spec, key, given["despite_callers"])
    level = {"concurrency": 0 if given["rate"] else given["concurrency"], "rate": given["rate"], "prompt_length": given["prompt_length"],
             "output_length": given["output_length"], "requests": bench.requests_of(given), "failed": 0, "figures": {}}  # fmt: skip
    if module.check_mode:
        return {"changed": False, "level": level, "repeats": [], "others": 0, "release": run["release"]}
    repeats = []
    folder = tempfile.mkdtemp(prefix="benchmark")
    place = Place(spec, given, key, folder)
    try:
        for number in range(max(1, given["repeats"])):
            result = client(place, spec, given, 100_000 * given["seed"] + 1000 * int(given["concurrency"]) + number)
            repeats.append(bench.figures(result))
            level["failed"] += int(result.get("failed") or 0)
    finally:
        place.clear()
        shutil.rmtree(folder, ignore_errors=True)
    after = bench.load_of(page(spec, key, "/metrics"))[1]
    ours = len(repeats) * (bench.requests_of(given) + bench.WARMUPS)
    others = 0 if after is None or answered is None else max(0, int(after - answered) - ours)
    level["figures"] = bench.summed(repeats)
    return {"changed": False, "level": level, "repeats": repeats, "others": others, "release": run["release"]}


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "serving_root": {"type": "path", "required": True},
        "concurrency": {"type": "int", "default": 1},
        "rate": {"type": "float", "default": 0},
        "prompt_length": {"type": "int", "default": 512},
        "output_length": {"type": "int", "default": 64},
        "prompts": {"type": "path"},
        "requests": {"type": "int", "default": 0},
        "repeats": {"type": "int", "default": 3},
        "seed": {"type": "int", "default": 0},
        "despite_callers": {"type": "bool", "default": False},
        "limit": {"type": "int", "default": 600},
        "program": {"type": "str", "default": ""},
        "activate": {"type": "str", "default": ""},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
