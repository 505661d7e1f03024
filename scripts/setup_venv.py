#!/usr/bin/env python3
"""Make the controller's .venv from requirements.lock, or add the test tools to it. `make` calls it; Python 3.6 can read it.

setup_venv.py           # .venv, whole or as it was before
setup_venv.py --dev     # and what `make test` needs

A new environment is made beside the old one and takes the name `.venv` (a link) when it is whole. Two at once: one waits.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
WAIT = 1800  # seconds for another one that sets up the same folder
SERVING = ROOT / "module_utils" / "serving"
sys.path[:0] = [str(SERVING), str(SERVING / "host")]


def give_up(sentence: str) -> None:
    sys.exit("vllm-ansible: " + sentence)


def check_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever calls it may be older)
        version = ".".join(map(str, sys.version_info[:3]))
        give_up(
            f"the controller needs Python 3.11 or later, and {sys.executable} is {version}; install one and run `make PYTHON=python3.11 ...`"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        give_up(f"{sys.executable} has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv)")


def recipe(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def ready(marker: Path, lock: Path) -> bool:
    """Is the environment there, from this lock, with an interpreter that still runs?"""
    try:
        made = marker.read_text().strip()
        works = subprocess.run([str(VENV / "bin" / "python"), "-c", ""], check=False, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    if made != recipe(lock) or works.returncode != 0:
        return False
    if os.access(str(marker), os.W_OK):
        os.utime(str(marker))  # make compares times
    return True


def give_up_making(what: str, output: str, folder: Path) -> None:
    """An installer's first error with what helps."""
    import installers

    free = f"{shutil.disk_usage(str(folder)).free / 2**20:.0f} MiB"
    remedy = installers.advice(output, str(folder), free, sys.executable, controller=True)
    give_up(f"{what} failed; {remedy}:\n{installers.decisive(output)}")


def install(python: Path, lock: Path, folder: Path) -> None:
    """pip, quietly."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "-r", str(lock)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if done.returncode != 0:
        give_up_making(f"installing {lock.name}", done.stderr, folder)


def make() -> None:
    """A new environment, published under its name when it is whole."""
    import venv

    import processes

    lock = ROOT / "requirements.lock"
    print("Setting up .venv from requirements.lock (about half a minute)", flush=True)
    folder = ROOT / f".venv-{secrets.token_hex(4)}"
    try:
        venv.EnvBuilder(symlinks=True).create(str(folder))
        python = folder / "bin" / "python"
        command = [str(python), "-m", "ensurepip", "--default-pip"]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", check=False
        )
        if done.returncode != 0:
            give_up_making("making .venv", done.stderr, folder)
        try:
            subprocess.run([str(folder / "bin" / "pip"), "--version"], check=True, stdout=subprocess.DEVNULL)
        except PermissionError:
            give_up(
                f"programs may not run in {ROOT} (is its file system mounted noexec? `findmnt -T {ROOT}`); put the checkout into another folder"
            )
        install(python, lock, folder)
        (folder / ".ready").write_text(recipe(lock) + "\n")
    except OSError as error:
        try:
            give_up_making("making .venv", f"error: {error}", ROOT)
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)
    except BaseException:
        shutil.rmtree(str(folder), ignore_errors=True)
        raise
    link = ROOT / ".venv-link"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(folder.name)
    if VENV.is_dir() and not VENV.is_symlink():  # of earlier versions
        shutil.rmtree(str(VENV))
    os.replace(str(link), str(VENV))
    for old in ROOT.glob(".venv-????????"):
        if old.name != folder.name and not processes.runs_from(str(old)):
            shutil.rmtree(str(old), ignore_errors=True)


def main() -> None:
    check_python()
    marker, lock = VENV / ".ready", ROOT / "requirements.lock"
    dev = "--dev" in sys.argv[1:]
    dev_marker, dev_lock = VENV / ".ready-dev", ROOT / "requirements-dev.lock"
    if ready(marker, lock) and (not dev or ready(dev_marker, dev_lock)):
        return
    try:
        holder = (ROOT / ".venv.lock").open("w")
    except OSError as error:
        give_up(
            f"{ROOT} can't be written ({error.strerror}), so .venv can't be made there; use a checkout of your own, "
            "or let the owner of this one run `make setup` once"
        )
    until, told = time.monotonic() + WAIT, False
    while True:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > until:
                give_up(f"another process has been setting up {VENV} for {WAIT} s; end it and try again")
            if not told:
                print("Another process sets up .venv; waiting for it", flush=True)
                told = True
            time.sleep(0.5)
    if not ready(marker, lock):
        make()
    if dev and not ready(dev_marker, dev_lock):
        print("Adding the test tools from requirements-dev.lock", flush=True)
        install(VENV / "bin" / "python", dev_lock, ROOT)
        dev_marker.write_text(recipe(dev_lock) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        give_up(f"{error.strerror or error} ({error.filename or ROOT})")
