"""Run a Python server behind the guard, for engines on uvicorn that take no ASGI middleware as an option.

    guarded.py MODULE [ARGUMENT...]     as `python -m MODULE ARGUMENT...`

uvicorn builds the application that it serves in Config.load: there the guard is put around it, outside of everything. A uvicorn without
that method serves nothing. Only this process is guarded: workers of their own would not be, so an engine's row must refuse them.
"""

import runpy
import sys

import uvicorn
from vllm_ansible_guard import Guard

load = uvicorn.Config.load


def load_guarded(config):
    load(config)
    config.loaded_app = Guard(config.loaded_app)


if __name__ == "__main__":
    uvicorn.Config.load = load_guarded
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
