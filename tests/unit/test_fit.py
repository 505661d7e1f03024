"""fit: everything that is missing, at once, before anything is downloaded."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.host import cpu as accelerators
from ansible.module_utils.serving.host import pythons
from conftest import load
from ports import free_port

from planning import devices as placing

GIB = 1 << 30


def row(port: int = 1, **changes: Any) -> dict[str, Any]:
    given = {
        "service": "demo", "address": "127.0.0.1", "port": port, "runtime": "native", "native_env": None, "overhead_bytes": 2 * GIB,
        "engine_args": {"kv_cache_memory_bytes": GIB}, "model": {"name": "demo", "bytes": GIB}, "kind": "cpu", "devices": None,
        "devices_given": True, "env": {}, "cpus": None, "options_version": "0.32.0", "convert": None,
        "engine_facts": {"traits": ["data-parallel", "memory-of-vllm"], "options": {"table": "vllm", "share": "gpu_memory_utilization"}}, **changes,
    }  # fmt: skip
    wide = placing.widths("x", given["engine_args"])
    return {
        **given, "widths": wide, "memory_bytes": placing.cpu_memory(given, wide),
        "utilization": placing.utilization(given["engine_args"]),
    }  # fmt: skip


@pytest.fixture
def fit(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(
        *plan: dict[str, Any],
        memory: dict[str, Any] | None = None,
        problems: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        **args: Any,
    ) -> dict[str, Any]:
        record = {
            "kind": "cpu",
            "arch": "x86_64",
            "topology": {"numa": [], "links": []},
            "problems": list(problems),
            "notes": list(notes),
            "memory": memory or {"total_bytes": 64 * GIB, "available_bytes": 64 * GIB, "limit_bytes": None},
        }
        base = {
            "plan": list(plan),
            "record": record,
            "serving_root": str(tmp_path / "r"),
            "models_root": str(tmp_path / "r/models"),
        }
        return run_module("fit", {**base, **args}, check=True)

    return run


def test_what_fits_fits_and_says_what_it_needs(fit: Callable[..., dict[str, Any]]) -> None:
    result = fit(row(free_port()), env_bytes=1000)
    assert not result["failed"] and not result["changed"]
    assert result["needs"] == {"memory_bytes": 4 * GIB, "disk_bytes": GIB + 1000}


def test_a_port_of_a_stranger_is_said_with_who_holds_it(fit: Callable[..., dict[str, Any]]) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        result = fit(row(port))
    assert result["failed"]
    assert f"port {port} is taken by process {os.getpid()} of user" in result["msg"]
    assert "python" in result["msg"] and "another port" in result["msg"]


def test_too_little_memory_says_how_much_is_needed(fit: Callable[..., dict[str, Any]]) -> None:
    low = {"total_bytes": 2 * GIB, "available_bytes": 2 * GIB, "limit_bytes": None}
    assert "the services need 4.0 GiB, this host has 2.0 GiB" in fit(row(free_port()), memory=low)["msg"]
    busy = {"total_bytes": 64 * GIB, "available_bytes": 3 * GIB, "limit_bytes": None}
    assert "4.0 GiB are needed, 3.0 GiB are available now" in fit(row(free_port()), memory=busy)["msg"]
    boxed = {"total_bytes": 64 * GIB, "available_bytes": 64 * GIB, "limit_bytes": GIB}
    assert "this host has 1.0 GiB" in fit(row(free_port()), memory=boxed)["msg"]


def test_too_little_disk_says_how_much_is_needed(fit: Callable[..., dict[str, Any]]) -> None:
    result = fit(row(free_port(), model={"name": "demo", "bytes": 1 << 60}))
    assert "disk: 1048576.0 TiB are needed" in result["msg"] and "set serving_root or models_root" in result["msg"]


def test_a_separate_disk_is_counted_on_its_own(
    fit: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("library/fit.py")
    models = str(tmp_path / "big/models")
    frees = {models: 10 * GIB, str(tmp_path / "r"): GIB // 2, "/dev/shm": GIB}
    monkeypatch.setattr(module, "free_bytes", frees.__getitem__)
    monkeypatch.setattr(module, "device_of", lambda path: 2 if path == models else 1)
    given = {"models_root": models, "env_bytes": 1000}
    result = fit(row(free_port()), **given)
    assert not result["failed"], result
    assert [(one["path"], one["needed_bytes"], one["free_bytes"]) for one in result["disks"]] == [
        (str(tmp_path / "r"), 1000, GIB // 2),
        (models, GIB, 10 * GIB),
    ]
    frees.update({models: GIB // 2, str(tmp_path / "r"): 10 * GIB})
    said = fit(row(free_port()), **given)["msg"]
    assert f"disk: 1.0 GiB are needed, 512.0 MiB are free below {models}; free some, or set models_root" in said
    # On one disk the two add up.
    monkeypatch.setattr(module, "device_of", lambda path: 1)
    frees.update({models: GIB, str(tmp_path / "r"): GIB})
    assert "set serving_root or models_root" in fit(row(free_port()), **given)["msg"]
    assert not fit(row(free_port(), native_env=None, runtime="container"), **given)["failed"]


def test_a_real_disk_of_its_own(fit: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """/dev/shm is a file system of its own: what is free below serving_root doesn't count for it, nor the other way round."""
    free = os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize
    fine, much = (
        row(free_port(), runtime="container", model={"name": "x", "bytes": b}) for b in (free // 2, free + GIB)
    )
    given = {"models_root": "/dev/shm/models of nobody"}
    assert not fit(fine, **given)["failed"]
    assert "are free below /dev/shm/models of nobody; free some, or set models_root" in fit(much, **given)["msg"]


def test_a_shared_model_counts_once_and_each_form_for_itself(fit: Callable[..., dict[str, Any]]) -> None:
    big = {"name": "big", "bytes": 3 * GIB, "dtype": "bfloat16"}

    def disk(*rows: dict[str, Any], **args: Any) -> float:
        services = [row(free_port(), service=f"s{n}", runtime="container", **one) for n, one in enumerate(rows)]
        return float(fit(*services, **args)["needs"]["disk_bytes"] / GIB)

    assert disk({"model": big}, {"model": big}) == 3
    assert disk({"model": big}, {"model": big, "convert": "float16"}) == 6
    assert disk({"model": big, "convert": False}, {"model": big}) == 3
    assert disk({"model": big, "convert": "float16"}, {"model": big, "convert": "float16"}) == 3
    assert disk({"model": big, "convert": "float16"}, keep_source=True) == 6
    assert disk({"model": {**big, "dtype": "float32"}, "convert": "float16"}) == 1.5


def test_an_archive_s_size_counts_where_the_engine_keeps_images(
    fit: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("library/fit.py")
    archive = {"path": str(tmp_path / "image.tar"), "id": "sha256:" + "a" * 64}
    with open(archive["path"], "wb") as out:
        out.truncate(5 * GIB)
    monkeypatch.setattr(module, "run_tool", lambda command: (0, f"{tmp_path}/docker\n", ""))
    there: list[Any] = [None]
    monkeypatch.setattr(module.images, "on_host", lambda *_: (there[0], ""))
    monkeypatch.setattr(module, "free_bytes", lambda path: 4 * GIB)
    monkeypatch.setattr(module, "device_of", lambda path: len(path))
    services = [row(free_port(), service=n, runtime="container", image="r.example/a:1") for n in "ab"]
    said = fit(*services, archives={"r.example/a:1": archive})["msg"]
    assert f"disk: 5.0 GiB are needed, 4.0 GiB are free below {tmp_path}/docker; free some, or set data-root" in said
    there[0] = {"Id": archive["id"]}
    assert not fit(*services, archives={"r.example/a:1": archive})["failed"]


def test_docker_s_shared_memory_is_too_little(
    fit: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("library/fit.py")
    monkeypatch.setattr(module, "free_bytes", lambda path: 64 << 20 if path == "/dev/shm" else 1 << 40)
    result = fit(row(free_port()))
    assert "192.0 MiB are needed in /dev/shm, 64.0 MiB are free" in result["msg"] and "--shm-size=1g" in result["msg"]


def test_everything_is_said_at_once(fit: Callable[..., dict[str, Any]]) -> None:
    low = {"total_bytes": GIB, "available_bytes": GIB, "limit_bytes": None}
    result = fit(
        row(free_port(), address="203.0.113.9"), memory=low, problems=("no AVX2",), host_python="/nowhere/python3"
    )
    assert len(result["problems"]) == 4
    for words in ("no AVX2", "/nowhere/python3 is not there", "no address 203.0.113.9", "memory:"):
        assert words in result["msg"]


def test_a_given_environment_must_have_vllm(fit: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    result = fit(row(free_port(), native_env=str(tmp_path / "env")))
    assert result["failed"] and f"native_env {tmp_path / 'env'} has no bin/vllm" in result["msg"]
    fake_python(tmp_path / "env/bin/vllm", "exit 0\n")
    assert not fit(row(free_port(), native_env=str(tmp_path / "env")))["failed"]


def fake_python(path: Path, script: str) -> str:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 3.9", "is Python 3.9"),
        ("echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1", "apt-get install python3-venv"),
        ("echo boom >&2; exit 1", "does not run (boom)"),
    ],
)
def test_an_unfit_python_is_named_with_the_remedy(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(Refusal) as refusal:
        pythons.find_python(fake_python(tmp_path / "python", script))
    assert words in str(refusal.value) and "3.11 to 3.14" in str(refusal.value) and "host_python" in str(refusal.value)


def test_no_python_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pythons.sys, "executable", fake_python(tmp_path / "old", "echo 3.8"))
    fake_python(tmp_path / "python3", "echo 3.10")
    with pytest.raises(Refusal, match=r"old is Python 3.8; .*python3 is Python 3.10"):
        pythons.find_python()


def test_environments_are_not_made_from_environments() -> None:
    found = pythons.find_python()
    assert "/.venv/" not in found and pythons.probe(found)[1] == ""


def test_the_record_of_this_machine_is_what_fit_reads(fit: Callable[..., dict[str, Any]]) -> None:
    record = accelerators.cpu_record()
    assert set(record["memory"]) == {"total_bytes", "available_bytes", "limit_bytes"}
    assert row()["memory_bytes"] == 4 * GIB


def test_a_note_about_the_devices_is_shown_and_stops_nothing(
    fit: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.warn", lambda _, text: shown.append(text))
    result = fit(row(free_port()), notes=("GPU 0 has persistence mode off; nvidia-smi -pm 1",))
    assert not result["failed"] and shown == ["GPU 0 has persistence mode off; nvidia-smi -pm 1"]
