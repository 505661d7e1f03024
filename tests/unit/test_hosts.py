"""Hosts in general: known good and bad versions, CPU hosts, firewalls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import known_versions as guard
from ansible.module_utils.serving.host.cpu import cpu_record
from conftest import FIXTURES, load
from tables import KNOWN
from test_catalogue import record as row

cpu, container = load("filter_plugins/cpu.py"), load("filter_plugins/container.py")


# -- versions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        ("25.2.0", "25.2.0", True), ("25.2.0", ">=25.0 <25.5", True), ("25.5.1", ">=25.0 <25.5", False),
        ("24.1.rc2", "<24.1.0", True), ("580.159.04", "<580", False), ("570.86.10", "<580", True), ("5.4.0-1009-aws", "<5.10", True),
    ],
)  # fmt: skip
def test_versions_satisfy_conditions(version: str, wanted: str, expected: bool) -> None:
    assert guard.satisfies(version, wanted) is expected


def record(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "arch": "x86_64", "driver": None, "versions": {}, **more}


@pytest.mark.parametrize(
    ("service", "host", "words"),
    [
        (row("qwq-32b"), record("gpu", driver="470.82.01"), "older than any CUDA 12 takes; install branch 580"),
        ({**row("qwq-32b"), "image": "vllm/vllm-openai:v0.33.0"}, record("gpu", driver="570.86.10"), "needs a driver of branch 580; upgrade the driver"),
        ({**row("qwq-32b-atlas-ascend"), "image": "quay.io/ascend/vllm-ascend:v0.11.0rc0-310p"}, record("npu"), "do not start on a 310P; use v0.23.0-310p"),
        ({**row("qwq-32b-atlas-ascend"), "image": "quay.io/ascend/vllm-ascend:v0.23.0"}, record("npu"), "takes the tag that ends with -310p"[6:]),
        (row("qwq-32b-atlas"), record("npu"), "are for aarch64; use engine vllm_ascend"),
        (row("qwen2-7b-instruct"), record("cpu", arch="aarch64", versions={"kernel": "5.4.0-1009-aws"}), "upgrade the kernel"),
    ],
)  # fmt: skip
def test_what_is_known_not_to_work_is_refused_with_its_remedy(
    service: dict[str, Any], host: dict[str, Any], words: str
) -> None:
    found = guard.bad(KNOWN, host, service)
    assert len(found) == 1 and words in found[0] and found[0].startswith(f"service '{service['service']}': "), found


def test_a_variable_that_mends_it_counts_and_unknown_versions_match_nothing() -> None:
    service = {**row("qwq-32b"), "image": "vllm/vllm-openai:v0.33.0", "env": {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"}}
    assert guard.bad(KNOWN, record("gpu", driver="570.86.10"), service) == []
    assert guard.bad(KNOWN, record("gpu"), row("qwq-32b")) == []


@pytest.mark.parametrize(
    "name",
    [
        "qwq-32b",
        "deepseek-r1-distill-qwen-32b",
        "qwen2.5-vl-32b-instruct",
        "qwen2-7b-instruct",
        "qwq-32b-atlas",
        "qwq-32b-atlas-ascend",
    ],
)
def test_the_rows_of_the_catalogue_pass(name: str) -> None:
    service = row(name)
    host = {
        "h100-sxm": record("gpu", driver="580.159.04"),
        "graviton4": record("cpu", arch="aarch64", versions={"kernel": "6.8.0-1015-aws"}),
        "atlas300iduo": record("npu", arch="aarch64", driver="25.2.0", versions={"firmware": "7.7.0.6.236"}),
    }[service["board"]]
    assert guard.bad(KNOWN, host, service) == []


def test_the_table_is_well_formed() -> None:
    for line in KNOWN:
        assert line["verdict"] in ("good", "bad") and line["source"]
        keys = set(line) - {"verdict", "text", "remedy", "source", "unless_env"}
        assert keys and keys <= {*guard.VERSIONS, *guard.WORDS}, line
        if line["verdict"] == "bad":
            assert line["text"] and line["remedy"]
            [re.compile(line[key]) for key in guard.WORDS if key in line]
    assert guard.pairs(KNOWN)["25.2.0"] == "7.7.0.6.236"


# -- a CPU host ------------------------------------------------------------------------------------------------------------


def graviton(**cpu_changes: Any) -> dict[str, Any]:
    return {
        "arch": "aarch64", "problems": [], "versions": {"kernel": "6.8.0-1015-aws"},
        "cpu": {"model": "Neoverse-V2", "flags": ["asimd", "bf16", "i8mm", "sve2"], "large_pages": "madvise", **cpu_changes},
        "topology": {"numa": [{"node": 0}, {"node": 1}]}, "count": 2,
    }  # fmt: skip


def test_a_graviton4_with_two_sockets_is_ready_and_told_of_the_second() -> None:
    found = cpu.cpu_findings(graviton(), [row("qwen2-7b-instruct")])
    assert found["problems"] == [] and not found["large_pages"]
    assert found["notes"] == ["service 'qwen2-7b-instruct' uses 1 of 2 NUMA nodes; tensor_parallel_size 2 uses all"]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (graviton(model="Neoverse-N1", flags=["asimd"]), "Neoverse-N1 has no bf16 and no i8mm"),
        ({**graviton(), "versions": {"kernel": "5.4.0-1009-aws"}}, "kernel 5.4.0-1009-aws is older than 5.10"),
        ({**graviton(), "count": 1}, "tensor_parallel_size 2 on 1 NUMA nodes"),
    ],
)
def test_what_a_cpu_host_lacks(host: dict[str, Any], words: str) -> None:
    service = row("qwen2-7b-instruct", engine_args={"tensor_parallel_size": 2})
    assert any(words in text for text in cpu.cpu_findings(host, [service])["problems"])


def test_an_eager_engine_on_a_cpu_compiles_nothing() -> None:
    assert row("demo")["env"]["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in row("demo", engine_args={"enforce_eager": False})["env"]
    assert row("demo", env={"TORCHDYNAMO_DISABLE": "0"})["env"]["TORCHDYNAMO_DISABLE"] == "0"
    assert "TORCHDYNAMO_DISABLE" not in row("qwq-32b", engine_args={"enforce_eager": True})["env"]


def test_tensor_parallel_follows_nodes_and_heads() -> None:
    eight = {**graviton(), "topology": {"numa": [{"node": i} for i in range(8)]}, "count": 8}
    assert cpu.tensor_parallel(eight, row("qwen2-7b-instruct")) == [1, 2, 4, 7]  # 28 heads


def test_only_who_names_cpus_has_ranks_on_nodes_that_are_isolated() -> None:
    isolated = {**graviton(), "count": 1}
    assert cpu.tensor_parallel(isolated, row("qwen2-7b-instruct")) == [1]
    assert cpu.cpu_findings(isolated, [row("qwen2-7b-instruct")])["notes"] == []
    for named in ({"cpus": "0-3"}, {"env": {"VLLM_CPU_OMP_THREADS_BIND": "0-3"}}):
        assert cpu.tensor_parallel(isolated, row("qwen2-7b-instruct", **named)) == [1, 2]


@pytest.mark.parametrize(
    ("text", "pages"), [("always madvise [never]\n", "never"), ("always [madvise] never\n", "madvise"), ("", None)]
)
def test_large_pages_are_read(tmp_path: Path, text: str, pages: str | None) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text((FIXTURES / "proc/neoverse-v2.txt").read_text())
    folder = tmp_path / "sys/kernel/mm/transparent_hugepage"
    folder.mkdir(parents=True)
    (folder / "enabled").write_text(text)
    record = cpu_record(str(tmp_path))
    assert record["cpu"]["large_pages"] == pages
    assert cpu.cpu_findings({**record, "arch": "aarch64"}, [])["large_pages"] is (pages == "never")


# -- the firewall ----------------------------------------------------------------------------------------------------------

FIREWALLD = """#!/bin/sh
ports={folder}/ports
touch $ports
permanent=runtime
for word in "$@"; do case $word in
--state) echo running; exit 0 ;;
--permanent) permanent=permanent ;;
--query-port=*) grep -qx "$permanent ${word#*=}" $ports && echo yes && exit 0; echo no; exit 1 ;;
--add-port=*) echo "$permanent ${word#*=}" >> $ports; echo success ;;
--query-rich-rule=*) grep -qxF "$permanent ${word#*=}" $ports && echo yes && exit 0; echo no; exit 1 ;;
--add-rich-rule=*) echo "$permanent ${word#*=}" >> $ports; echo success ;;
esac; done
"""
UFW = """#!/bin/sh
rules={folder}/rules
touch $rules
case $1 in
status) printf 'Status: active\\n\\nTo            Action   From\\n--            ------   ----\\n'; cat $rules ;;
allow) [ "$4" = to ] || { printf '%s/tcp            ALLOW       %s                   # vllm-ansible\n' "$9" "$5" >> $rules; exit 0; }
  printf '%s/tcp                   ALLOW       Anywhere                   # vllm-ansible\n' "$7" >> $rules; echo 'Rule added' ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(script.replace("{folder}", str(tmp_path)))
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return install


@pytest.mark.parametrize(
    ("name", "script", "firewall"), [("firewall-cmd", FIREWALLD, "firewalld"), ("ufw", UFW, "ufw")]
)
def test_ports_are_opened_once(tools: Any, run_module: Any, name: str, script: str, firewall: str) -> None:
    tools(name, script)
    assert run_module("firewall_port", {"ports": [8000, 8001]}, check=True)["opened"] == [8000, 8001]
    found = run_module("firewall_port", {"ports": [8000, 8001]})
    assert found["changed"] and found["firewall"] == firewall and found["opened"] == [8000, 8001]
    assert run_module("firewall_port", {"ports": [8000, 8001]})["changed"] is False
    assert run_module("firewall_port", {"ports": [800]})["opened"] == [800]


@pytest.mark.parametrize(("name", "script"), [("firewall-cmd", FIREWALLD), ("ufw", UFW)])
def test_hosts_of_one_service_are_let_in_by_their_addresses_alone(
    tools: Any, run_module: Any, tmp_path: Path, name: str, script: str
) -> None:
    tools(name, script)
    dynamic = "-".join(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    peers = [{"address": "10.0.0.2", "ports": [29600, 29601]}, {"address": "fd00::2", "ports": [29600, 29601]}]
    given = {"ports": [], "peers": peers}
    words = [
        f"tcp ports {span.replace('-', ' to ')} from {peer['address']}"
        for peer in peers
        for span in ("29600-29601", dynamic)
    ]
    assert run_module("firewall_port", given, check=True)["opened_to"] == words
    assert run_module("firewall_port", given)["opened_to"] == words
    assert run_module("firewall_port", given)["changed"] is False
    (rules,) = [path.read_text() for path in (tmp_path / "ports", tmp_path / "rules") if path.exists()]
    assert all("10.0.0.2" in line or "fd00::2" in line for line in rules.splitlines()) and "Anywhere" not in rules


def test_no_firewall_and_one_that_refuses(tools: Any, run_module: Any) -> None:
    tools("firewall-cmd", "#!/bin/sh\necho 'not running'\nexit 252\n")
    tools("ufw", "#!/bin/sh\necho 'Status: inactive'\n")
    assert run_module("firewall_port", {"ports": [8000]}) | {"diff": None} == {
        "failed": False, "changed": False, "firewall": None, "opened": [], "opened_to": [], "diff": None,
    }  # fmt: skip
    tools(
        "ufw",
        "#!/bin/sh\n[ $1 = status ] && echo 'Status: active' && exit 0\necho 'ERROR: problem running ufw-init' >&2\nexit 1\n",
    )
    assert "port 8000 can't be opened" in run_module("firewall_port", {"ports": [8000]})["msg"]


def test_only_what_the_host_itself_serves_needs_the_firewall() -> None:
    base = row("qwen2-7b-instruct")
    rows = [
        base, {**base, "address": "0.0.0.0"}, {**base, "address": "10.0.0.1", "runtime": "native"},
        {**base, "address": "::", "rights": ["host-network"]}, {**base, "runtime": "native"},
    ]  # fmt: skip
    assert [r["address"] for r in container.beyond_host(rows)] == ["10.0.0.1", "::"]
