"""What an error between the hosts of a service says of interface and port."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.service import members
from ansible.module_utils.serving.service.failures import explain

GROUP: dict[str, Any] = {
    "rank": 0, "leader": "gpu-01", "members": ["gpu-01", "gpu-02"], "addresses": ["10.0.0.1", "10.0.0.2"], "interface": None,
    "ports": {"master": 29500, "watch": 29501, "check": 29502},
}  # fmt: skip


def found(tmp_path: Any, **changes: Any) -> dict[str, Any]:
    (tmp_path / "group.json").write_text('{"pid": 7, "state": "running", "interface": "ens1f0"}')
    return members.part(str(tmp_path), {**GROUP, **changes}, {"pid": 7})


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: Gloo connectFullMesh failed with [gloo/transport/tcp/pair.cc:152] SO_ERROR: Connection refused, remote=[10.0.0.2]:43211",
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:43211",
        "node1:71:88 [0] misc/socket.cc:484 NCCL WARN socketStartConnect: Connect to 10.0.0.2<43211> failed : No route to host",
        "node1:71:88 [0] misc/socket.cc:538 NCCL WARN socketPollConnect: Connect to 10.0.0.2<43211> returned 113(No route to host) errno 115",
        "[ERROR] HCCL: [hccl_socket.cc:120] socket establish timeout, remote ip[10.0.0.2], port[43211]",
    ],
)
def test_an_error_of_gloo_nccl_or_hccl_names_the_host_its_interface_and_the_port(line: str, tmp_path: Any) -> None:
    hint = explain([line])
    told = members.between(found(tmp_path), hint.hint, hint.root or "")
    assert told and "this host has 10.0.0.1 on ens1f0, and the error names gpu-02 (10.0.0.2) port 43211;" in told
    assert "the hosts meet at 10.0.0.1 ports 29500 and 29501, then on ports " in told


def test_a_rendezvous_names_the_first_host(tmp_path: Any) -> None:
    line = "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (10.0.0.1, 29500)."
    hint = explain([line])
    told = members.between(found(tmp_path, rank=1), hint.hint, hint.root or "")
    assert told and "this host has 10.0.0.2 on ens1f0, and the error names gpu-01 (10.0.0.1) port 29500;" in told


def test_other_errors_and_services_of_one_host_get_nothing(tmp_path: Any) -> None:
    assert members.between(found(tmp_path), "cuda", "10.0.0.2:43211") is None
    assert members.between(found(tmp_path), None, "10.0.0.2:43211") is None
    six = found(tmp_path, addresses=["fd00::1", "fd00::2"])
    told = members.between(six, "gloo-connect", "SO_ERROR: Connection refused, remote=[fd00::2]:43211")
    assert told and "the error names gpu-02 (fd00::2) port 43211" in told
    assert "the error names" not in str(members.between(six, "gloo-connect", "remote=[10.9.9.9]:43211"))
