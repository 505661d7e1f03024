"""Run FlagScale's leaf inside a container, so that SIGTERM reaches the engine and drains it.

The leaf (flagscale/serve/run_inference_engine.py) starts `vllm serve` as its child, passes no signal on and ends with 0 whatever
the engine did, a kill for lack of memory included. So SIGTERM goes to the leaf's children here, and the leaf ends by itself when they have.
"""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(child) for child in listed.read().split()]


def out_of_memory():
    """Processes of this container that the kernel has killed for lack of memory: control groups version 2, then 1."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(path, encoding="ascii") as source:
                return int(dict(line.split() for line in source).get("oom_kill", 0))
        except OSError:
            continue
    return 0


def main():
    spec = find_spec("flag_scale")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            "leaf: this image's environment has no FlagScale (Python package flag_scale); set `activate` or another image"
        )
    home = next(iter(spec.submodule_search_locations))
    # The leaf opens files relative to its package, and imports from there.
    environment = {**os.environ, "PYTHONPATH": home + os.pathsep + os.environ.get("PYTHONPATH", "")}
    command = [
        sys.executable,
        "flagscale/serve/run_inference_engine.py",
        f"--config-path={sys.argv[1]}",
        "--log-dir=/tmp",
    ]
    leaf = subprocess.Popen(command, cwd=home, env=environment)

    def drain(*_):
        for pid in children(leaf.pid) or [leaf.pid]:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, drain)
    code = leaf.wait()
    if killed := out_of_memory():
        print(
            f"leaf: the kernel killed {killed} processes for lack of memory: the container's limit is too small",
            flush=True,
        )
        return 137
    return code


if __name__ == "__main__":
    sys.exit(main())
