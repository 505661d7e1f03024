"""Run a command inside a container whose child is the engine, so that SIGTERM reaches the engine and drains it.

FlagScale's leaf (flagscale/serve/run_inference_engine.py) and vllm_mindspore's entry point start the engine as their child, pass
no signal on and end with 0 whatever the engine did, a kill for lack of memory included. So SIGTERM goes to the command's children
here, and the command ends by itself when they have.

    launch.py [--package NAME] COMMAND...     --package: run it in the folder of this Python package, importable from there
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


def home_of(package):
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"launch: this image's environment has no Python package {package}; set `activate` or another image")
    return next(iter(spec.submodule_search_locations))


def main():
    command, home, environment = sys.argv[1:], None, dict(os.environ)
    if command[:1] == ["--package"]:
        home, command = home_of(command[1]), command[2:]
        environment["PYTHONPATH"] = home + os.pathsep + environment.get("PYTHONPATH", "")
    process = subprocess.Popen([sys.executable, *command], cwd=home, env=environment)

    def drain(*_):
        for pid in children(process.pid) or [process.pid]:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, drain)
    code = process.wait()
    if killed := out_of_memory():
        print(
            f"launch: the kernel killed {killed} processes for lack of memory: the container's limit is too small",
            flush=True,
        )
        return 137
    return code


if __name__ == "__main__":
    sys.exit(main())
