"""What is released on the hosts of a group: the same files, with another rank, address and interface."""

from __future__ import annotations

import json
import shlex
from typing import Any

import jinja2
import pytest
import yaml
from conftest import ROOT, load
from tables import small
from test_engines import FOUND, ROOTS
from test_groups import CPU, record
from test_plan import GPU, MODELS, SERVICES

release = load("filter_plugins/release.py")
container = load("filter_plugins/container.py")
PLACE = {"names": [0], "cdi": ["0"], "cores": None}
NATIVE = {**FOUND, "image": None}
ENGINE = {**ROOTS, "environment": "/srv/vllm/envs/vllm-cpu-0123"}


def older(version: str, other: str, sign: str) -> bool:
    """Ansible's test `version`, as far as these templates ask."""
    assert sign == "<"
    return [int(part) for part in version.split(".")] < [int(part) for part in other.split(".")]


def made(host: str, **changes: Any) -> dict[str, Any]:
    inside = changes.get("board") is GPU
    service = record(host, **changes)
    return {"service": service, "release": release.release(service, FOUND if inside else NATIVE, PLACE, ENGINE)}


def rendered(host: str, **changes: Any) -> dict[str, str]:
    """{file of the release: text}."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    jinja.filters.update(
        {**load("filter_plugins/guard.py").FilterModule().filters(), **container.FilterModule().filters()},
        quote=lambda value: shlex.quote(str(value)),
        to_json=lambda value, **_: json.dumps(value, ensure_ascii=False),
    )
    jinja.tests["version"] = older
    values = made(host, **changes)
    return {
        name: jinja.get_template(template).render(serving_root="/srv/vllm", **values) + "\n"
        for name, template in values["release"]["files"].items()
    }


def test_natively_both_start_the_runner_and_differ_in_rank_and_address() -> None:
    first, second = rendered("a"), rendered("b")
    assert list(first) == list(second) == ["start", "group.py", "engine", "serve.yaml", "guard/vllm_ansible_guard.py"]
    assert "exec /srv/vllm/tools/bin/python -u group.py\n" in first["start"] and "rank 1 of a, b" in second["start"]
    assert (
        first["group.py"].strip()
        == second["group.py"].strip()
        == (ROOT / "templates/group/group.py").read_text().strip()
    )
    assert 'export VLLM_HOST_IP=10.0.0.1 GLOO_SOCKET_IFNAME="$GROUP_INTERFACE"' in first["engine"]
    assert "VLLM_HOST_IP=10.0.0.2" in second["engine"] and "127.0.0.1" not in second["engine"]
    assert "export VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS=300" in second["engine"] and "NCCL" not in first["engine"]
    assert "VLLM_API_KEY" in first["engine"] and "VLLM_API_KEY" not in second["engine"]
    for text in (first["engine"], second["engine"]):
        assert text.index("VLLM_HOST_IP") < text.index("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS") < text.index("exec ")


def test_only_the_first_host_has_an_address_and_a_port() -> None:
    first, second = (yaml.safe_load(rendered(host)["serve.yaml"]) for host in ("a", "b"))
    port = record()["group"]["ports"]["master"]
    assert first.pop("host") == "127.0.0.1" and first.pop("port") == 8000
    assert first.pop("middleware") and first.pop("disable-fastapi-docs")
    assert second.pop("headless") is True and (first.pop("node-rank"), second.pop("node-rank")) == (0, 1)
    assert first == second
    assert {key: first[key] for key in ("nnodes", "master-addr", "master-port", "tensor-parallel-size")} == {
        "nnodes": 2,
        "master-addr": "10.0.0.1",
        "master-port": port,
        "tensor-parallel-size": 2,
    }


def test_in_containers_the_interface_is_passed_in_and_the_api_stays_where_the_row_says() -> None:
    first, second = rendered("a", board=GPU), rendered("b", board=GPU)
    assert (
        "exec docker run" in first["engine"]
        and "--env=GROUP_INTERFACE" in first["engine"]
        and "--network=host" in first["engine"]
    )
    assert 'NCCL_SOCKET_IFNAME="=$GROUP_INTERFACE"' in second["environment"]
    assert yaml.safe_load(first["serve.yaml"])["host"] == "127.0.0.1"
    assert "host" not in yaml.safe_load(second["serve.yaml"])
    assert {"start", "stop", "group.py", "engine"} <= set(first)


def test_ranks_that_talk_through_shared_memory_get_more_than_docker_gives() -> None:
    service = made("a", board=GPU)["service"]
    assert container.shared_memory({**service, "shm_bytes": None}) == (service["widths"]["devices"] + 1) * (256 << 20)
    assert container.shared_memory({**service, "shm_bytes": 5 << 30}) == 5 << 30
    assert container.shared_memory({**service, "shm_bytes": None, "widths": {"ranks": 1, "devices": 1}}) is None


def test_an_npu_gets_hccls_variables() -> None:
    board = {
        "name": "atlas",
        "vendor": "ascend",
        "engine": "vllm_ascend",
        "engine_version": "0.23.0",
        "runtime": "container",
        "image": "x@sha256:0",
        "count": 8,
    }
    found = record("b", board=board)
    values = {"service": found, "release": release.release(found, FOUND, PLACE, ENGINE)}
    jinja = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "templates"), trim_blocks=True)
    text = jinja.get_template("group/environment.j2").render(**values)
    assert 'HCCL_IF_IP=10.0.0.2 HCCL_SOCKET_IFNAME="$GROUP_INTERFACE"' in text and "NCCL_" not in text


def test_the_spec_says_the_group_and_a_digest_that_its_hosts_share() -> None:
    first, second = (made(host)["release"]["spec"] for host in ("a", "b"))
    assert first["group"]["digest"] == second["group"]["digest"] and first["group"]["rank"] != second["group"]["rank"]
    assert (first["group"]["silence"], first["group"]["step_seconds"]) == (20, 300)
    assert second["api_key"] is False and second["endpoint"] == "http://10.0.0.1:8000"
    alone = release.release(
        load("filter_plugins/plan.py").plan(["demo"], **small(SERVICES, MODELS, CPU))[0], NATIVE, PLACE, ENGINE
    )
    assert "group" not in alone["spec"] and "group.py" not in alone["files"]


@pytest.mark.parametrize(
    "changes",
    [
        {"engine_args": {"max_model_len": 64}},
        {"env": {"A": "1"}},
        {"hosts_port": 30000},
        {"engine_args": {"tp": 4}},
        {"served_name": "other"},
    ],
)
def test_another_row_has_another_digest_and_another_cache_has_not(changes: dict[str, Any]) -> None:
    digest = made("a")["release"]["spec"]["group"]["digest"]
    assert made("a", **changes)["release"]["spec"]["group"]["digest"] != digest
    assert made("a", engine_args={"kv_cache_memory_bytes": 5})["release"]["spec"]["group"]["digest"] == digest
