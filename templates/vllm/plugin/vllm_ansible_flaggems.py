"""A vLLM plugin (entry point group vllm.general_plugins) that runs FlagGems' operators in vLLM's workers.

Switched by USE_FLAGGEMS=1. VLLM_FL_FLAGOS_WHITELIST names the only operators to take, VLLM_FL_FLAGOS_BLACKLIST the ones to leave,
both separated by commas; without either, the ones of ALLOW. Each operator that is used writes its name into
FLAGGEMS_ENABLE_OPLIST_PATH: the proof that it is active. All that are switched on stand in gems_registered.txt beside it, since some are used
without writing their names.
"""

import functools
import os

# With FlagGems 5.0.2 and vLLM 0.25.1 on an H100 these together answer as native operators do (0 of 400 sums differ). All but upstream's list
# for Hopper GPUs answers every sum with one digit over and over, though the same operators write their names: `mul`, which writes none, is wrong.
ALLOW = "add_,arange_start,argmax,cat,cos,cumsum_out,embedding,gather,ones,reciprocal,sin,sub,topk,true_divide,zero_,zeros,zeros_like"


def names(variable, default=""):
    return [name for name in os.environ.get(variable, default).split(",") if name]


def enable():
    import flag_gems

    record = {"record": True, "once": True, "path": os.environ["FLAGGEMS_ENABLE_OPLIST_PATH"]}
    deny = names("VLLM_FL_FLAGOS_BLACKLIST")
    if deny:
        flag_gems.enable(unused=deny, **record)
    else:
        flag_gems.only_enable(include=names("VLLM_FL_FLAGOS_WHITELIST", ALLOW), **record)
    registered = "\n".join(sorted(set(flag_gems.all_registered_ops()))) + "\n"
    with open(os.path.join(os.path.dirname(record["path"]), "gems_registered.txt"), "w", encoding="utf-8") as file:
        file.write(registered)


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
