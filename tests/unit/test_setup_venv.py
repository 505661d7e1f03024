"""The controller's .venv: made once, whole or as it was, and a sentence where it can't be made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, tools_lock

LOCK = "\n".join(tools_lock().split("uv==")[0].splitlines()) + "\n"  # supervisor alone: small, and pure Python


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as sets up .venv, in a folder with a space in its name."""
    folder = tmp_path / "my checkout"
    for name in ("scripts/setup_venv.py", "scripts/locale_works.py", "Makefile",
                 "module_utils/serving/host/installers.py", "module_utils/serving/processes.py"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "requirements.lock").write_text(LOCK)
    (folder / "requirements-dev.lock").write_text(LOCK)
    return folder


def start(folder: Path, *options: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "scripts/setup_venv.py", *options], cwd=folder, env={**os.environ, **env}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def run(folder: Path, *options: str, ok: bool = True, **env: str) -> str:
    process = start(folder, *options, **env)
    output = process.communicate(timeout=300)[0]
    assert (process.returncode == 0) is ok and "Traceback" not in output, output
    return output


def works(folder: Path) -> None:
    subprocess.run([folder / ".venv/bin/supervisord", "--version"], check=True, capture_output=True)


def test_two_at_once_make_one_and_both_end_well(checkout: Path) -> None:
    both = [start(checkout, "--dev") for _ in range(2)]
    texts = [one.communicate(timeout=300)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], texts
    assert sum("Setting up" in text for text in texts) == 1 and sum("waiting for it" in text for text in texts) == 1
    works(checkout)
    assert len(list(checkout.glob(".venv-*"))) == 1 and run(checkout, "--dev") == ""


def test_a_killed_one_and_a_failed_one_leave_what_was_there(checkout: Path) -> None:
    killed = start(checkout)
    time.sleep(1.5)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (checkout / ".venv").exists()
    run(checkout)
    works(checkout)
    (checkout / "requirements.lock").write_text(LOCK + f"vllm-ansible-nowhere==1.0 --hash=sha256:{'0' * 64}\n")
    output = run(checkout, ok=False)
    assert "installing requirements.lock failed; the index of pip's configuration (pip config list) lacks it" in output
    works(checkout)
    assert len(list(checkout.glob(".venv-*"))) == 1
    output = run(checkout, ok=False, PIP_NO_INDEX="", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1",
                 PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="", PIP_CONFIG_FILE="/dev/null")  # fmt: skip
    assert "the index can't be reached" in output and "HTTPS_PROXY in this shell:" in output
    assert "fetch_environment" not in output and "bundle" not in output  # the hosts' remedies
    (checkout / "requirements.lock").write_text("# new\n" + LOCK)
    assert "Setting up" in run(checkout)
    works(checkout)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, to be mounted read-only or noexec."""
    if os.getuid() != 0:
        pytest.skip("mounting a file system needs root, which CI has")
    folder = tmp_path / "mounted"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


@pytest.mark.parametrize(
    ("option", "words"), [("ro", "can't be written (Read-only file system)"), ("noexec", "programs may not run in")]
)
def test_a_file_system_that_forbids_it_is_named(checkout: Path, mounted: Path, option: str, words: str) -> None:
    shutil.copytree(checkout, mounted / "c")
    subprocess.run(["mount", "-o", f"remount,{option}", mounted], check=True)
    output = run(mounted / "c", ok=False)
    assert words in output and output.count("vllm-ansible: ") == 1 and "venv module" not in output


@pytest.mark.parametrize("room", [0, 3, 14])
def test_a_full_disk_is_told_at_every_step(checkout: Path, mounted: Path, room: int) -> None:
    """Python's files of an environment, pip's own, or the packages: what does not fit any more. `room` in MiB."""
    shutil.copytree(checkout, mounted / "c")
    free = os.statvfs(mounted).f_bavail * os.statvfs(mounted).f_frsize
    with (mounted / "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - (room << 20))
    output = run(mounted / "c", ok=False)
    assert "the disk is full" in output and f"below {mounted}/c" in output and output.count("vllm-ansible: ") == 1
    assert not [path for path in (mounted / "c").glob(".venv-*") if path.is_dir()]


def test_who_may_only_read_uses_what_its_owner_has_made(checkout: Path) -> None:
    run(checkout)
    for folder in (checkout, checkout / ".venv"):
        folder.chmod(0o555)
    try:
        assert run(checkout) == ""
    finally:
        checkout.chmod(0o755)


def test_an_old_python_and_one_without_venv_are_told(checkout: Path, tmp_path: Path) -> None:
    code = "import sys; sys.version_info = (3, 9, 2); sys.argv = ['x']; import runpy; runpy.run_path('scripts/setup_venv.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "needs Python 3.11 or later" in done.stderr and done.stderr.count("\n") == 1
    (tmp_path / "ensurepip.py").write_text("raise ImportError('No module named ensurepip')\n")
    output = run(checkout, ok=False, PYTHONPATH=str(tmp_path))
    assert "has no venv module; install it" in output and "python3-venv" in output


@pytest.mark.parametrize(
    ("env", "falls_back"),
    [
        ({"LANG": "xx_XX.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8"}, False),
        ({"LC_ALL": "C"}, True),
        ({"LC_CTYPE": "xx_XX@euro"}, False),
    ],
)
def test_a_locale_that_ansible_refuses_is_replaced(checkout: Path, env: dict[str, str], falls_back: bool) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "MAKE", "MFLAGS"))}
    show = [
        "make",
        "--no-print-directory",
        "--eval=show:;@echo $(origin LC_ALL) $$LC_ALL",
        f"PYTHON={sys.executable}",
        "show",
    ]
    done = subprocess.run(show, cwd=checkout, env={**clean, **env}, capture_output=True, text=True, check=True)
    assert (done.stdout == "file C.UTF-8\n") is falls_back, done.stdout


def test_make_without_a_python_says_so(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "setup", "PYTHON=python3.99"], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "there is no python3.99; install Python 3.11" in done.stderr
