"""Run a command inside a container whose child is the engine, so that SIGTERM reaches the engine and drains it.

FlagScale's leaf (flagscale/serve/run_inference_engine.py) and vllm_mindspore's entry point start the engine as their child, pass
no signal on and end with 0 whatever the engine did, a kill for lack of memory included. So SIGTERM goes to the command's children
here, and the command ends by itself when they have.

    launch.py [--package NAME] [--drain SECONDS] COMMAND...

    --package: run it in the folder of this Python package, importable from there
    --drain: let requests in flight finish for so long, with a vLLM that ends them at once unless it is told so
"""

import os
import re
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


def drained(command, seconds):
    """The command, its configuration (--config-path) with vLLM's shutdown_timeout, which only some versions know."""
    spec = find_spec("vllm")
    source = os.path.join(os.path.dirname(spec.origin or ""), "engine", "arg_utils.py") if spec else ""
    if not os.path.isfile(source):
        return command
    with open(source, encoding="utf-8") as text:
        if "shutdown_timeout" not in text.read():
            return command  # these let requests finish by themselves
    option = next(word for word in command if word.startswith("--config-path="))
    with open(option.partition("=")[2], encoding="utf-8") as text:
        config = re.sub(r"(?m)^( *)engine_args:\n", rf"\g<0>\1  shutdown_timeout: {seconds}\n", text.read())
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), "serve.yaml")
    with open(path, "w", encoding="utf-8") as out:
        out.write(config)
    return [f"--config-path={path}" if word == option else word for word in command]


def main():
    command, home, environment = sys.argv[1:], None, dict(os.environ)
    if command[:1] == ["--package"]:
        home, command = home_of(command[1]), command[2:]
        environment["PYTHONPATH"] = home + os.pathsep + environment.get("PYTHONPATH", "")
    if command[:1] == ["--drain"]:
        command = drained(command[2:], int(command[1]))
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
