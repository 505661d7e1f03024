"""A remedy names options that the engines have, and keys that a row has: an operator types them."""

from __future__ import annotations

import json
import re

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.hints.hint import Hint
from conftest import ROOT

from planning import keys

OPTIONS = {
    name
    for engine in ("vllm", "sglang")
    for name in json.loads((ROOT / f"planning/{engine}_options.json").read_text())["options"]
}
KEYS = {*keys.SHARED, *keys.SERVICE}
OURS = KEYS | set(re.findall(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", (ROOT / "docs/variables.md").read_text()))
# Modules of the kernel, programs, files and settings of other software.
OTHERS = {
    "allow_other", "global_oom", "max_tokens", "nvidia_uvm", "sched_setaffinity",
    "amd_iommu", "bin_t", "intel_iommu", "pcie_aspm", "pcie_port_pm", "disabled_plugins", "longest_edge", "shortest_edge", "torch_extensions",
    "firewall_driver", "ip_range", "ip_tables",
    "all_proxy", "ansible_become_password", "ansible_host", "ansible_port", "ansible_python_interpreter", "ansible_remote_tmp", "ansible_user",
    "apparmor_parser", "ascend910_9391", "avx512_bf16", "awq_marlin", "br_netfilter", "cgroup_manager", "compute_cap", "container_use_devices",
    "cudagraph_mode", "default_sysctls", "device_name", "direct_io", "dns_bind_port", "draft_tensor_parallel_size", "enable_blending",
    "expandable_segments", "flag_gems", "flash_attn", "hccn_tool", "http_proxy", "https_proxy", "huggingface_hub", "ib_umad",
    "ib_write_bw", "ibv_devinfo", "init_path", "kernel_name", "kv_connector", "kv_connector_module_path", "lm_head",
    "memory_decoding", "metadata_server", "mindieservice_daemon", "mlx5_ib",
    "model_loader", "module_hotfixes", "modules_to_save", "mooncake_master", "mount_program", "nf_tables", "nft_compat", "no_proxy", "nova_core",
    "nova_drm", "num_locks", "nvidia_drm", "plugin_param", "prefix_cache", "runtime_env", "runtime_env_setup", "s_client", "selinux_err",
    "sharded_state", "show_gids", "start_period", "tokenizer_class", "torch_npu", "use_ascend_direct", "uvm_disable_hmm", "vllm_ascend", "xfs_repair",
}  # fmt: skip
SYSTEM = {"kernel", "user", "systemd", "net", "vm", "module"}  # the kernel's and systemd's own names with dots
PLAIN = {"out", "options", "variable", "path"}  # what stands before «of the row» and is no key


@pytest.mark.parametrize("row", failures.HINTS, ids=lambda row: row.name)
def test_a_remedy_names_what_there_is(row: Hint) -> None:
    names = set(re.findall(r"(?<![\w./:-])[a-z0-9]+(?:_[a-z0-9]+)+(?![\w/.(])", row.remedy))
    dotted = set(re.findall(r"(?<![\w./:-])([a-z0-9_]+)\.[a-z0-9]+(?:_[a-z0-9]+)+(?![\w/.(])", row.remedy))
    assert dotted <= OPTIONS | SYSTEM | KEYS, "what stands before a dot has keys of its own"
    assert names <= OPTIONS | OURS | OTHERS, (
        "is it an option of an engine, or another program's? Then name it in OTHERS"
    )
    assert set(re.findall(r"(\w+)`? of the row(?!')", row.remedy)) <= KEYS | PLAIN


def test_names_of_other_programs_are_in_use() -> None:
    text = " ".join(row.remedy for row in failures.HINTS)
    assert [name for name in sorted(OTHERS) if name not in text] == []
