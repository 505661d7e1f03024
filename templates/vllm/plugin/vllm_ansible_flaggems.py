"""A vLLM plugin (entry point group vllm.general_plugins) that runs FlagGems' operators in vLLM's workers.

Switched by USE_FLAGGEMS=1. VLLM_FL_FLAGOS_WHITELIST names the only operators to take, VLLM_FL_FLAGOS_BLACKLIST the ones to leave,
both separated by commas; without either, what FlagOS's own plugin leaves on NVIDIA's Hopper chips, and addmm. Each operator that is
used writes its name into FLAGGEMS_ENABLE_OPLIST_PATH: the proof that it is active.
"""

import functools
import os

# vllm-plugin-FL, dispatch/config/nvidia.yaml and its Hopper file; addmm as it is mm with a bias.
DENY = "mm,mm_out,addmm,addmm_out,copy_,to_copy,pow_scalar,clamp,clamp_,index_put_,index_put,_index_put_impl_,nonzero,index"


def names(variable, default=""):
    return [name for name in os.environ.get(variable, default).split(",") if name]


def enable():
    import flag_gems

    record = {"record": True, "once": True, "path": os.environ["FLAGGEMS_ENABLE_OPLIST_PATH"]}
    allow = names("VLLM_FL_FLAGOS_WHITELIST")
    if allow:
        flag_gems.only_enable(include=allow, **record)
    else:
        flag_gems.enable(unused=names("VLLM_FL_FLAGOS_BLACKLIST", DENY), **record)


def register():
    """Called by vLLM in each of its processes. The operators are for the workers: only those touch the GPU."""
    if os.environ.get("USE_FLAGGEMS") != "1":
        return
    from vllm.v1.worker.gpu_worker import Worker

    if getattr(Worker, "_vllm_ansible_flaggems", False):
        return
    init_device = Worker.init_device

    @functools.wraps(init_device)
    def init_device_and_enable(self, *args, **kwargs):
        result = init_device(self, *args, **kwargs)
        enable()
        return result

    Worker.init_device = init_device_and_enable
    Worker._vllm_ansible_flaggems = True
