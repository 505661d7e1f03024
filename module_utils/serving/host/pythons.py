"""Find a Python on the host that environments can be made with. Standard library only, Python 3.8."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from ansible.module_utils.serving.errors import Refusal

OLDEST, NEWEST = (3, 11), (3, 14)
PROBE = "import sys; print('%d.%d' % sys.version_info[:2]); import venv, ensurepip"


def probe(python: str) -> tuple[str, str]:
    """(version or '', what is wrong or '') of one interpreter."""
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", "%s does not run (%s)" % (python, error)
    version = done.stdout.strip()
    number = tuple(int(part) for part in version.split(".")) if version else ()
    if number and not OLDEST <= number <= NEWEST:
        return version, "%s is Python %s" % (python, version)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if "ensurepip" in last or "venv" in last:
            return "", "%s has no venv module (Debian, Ubuntu: apt-get install python3-venv)" % python
        return "", "%s does not run (%s)" % (python, last)
    return version, ""


def find_python(wanted: str = "") -> str:
    """Path of an interpreter from 3.11 to 3.14 with venv: `wanted`, or the first that fits. Refusal if none does.

    The one that runs this module goes first, so that a small host needs only one Python.
    """
    names = (
        [wanted]
        if wanted
        else [sys.executable, "python3"] + ["python3.%d" % minor for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    )
    wrong: list[str] = []
    for name in names:
        path = shutil.which(os.path.expanduser(name)) if name else None
        if path is None:
            if wanted:
                wrong.append("%s is not there" % wanted)
            continue
        _, problem = probe(path)
        if not problem:
            # Not the python of somebody's environment: ours would die with it.
            return base_python(path)
        if problem not in wrong:
            wrong.append(problem)
    raise Refusal(
        "this host has no Python from %d.%d to %d.%d with venv: %s; install one and set host_python (for the tools alone: tools_python) to its path"
        % (OLDEST + NEWEST + ("; ".join(wrong) or "no python3 on PATH",))
    )


def base_python(path: str) -> str:
    """The interpreter that `path`'s virtual environment was made from; `path` itself outside of one."""
    code = (
        "import sys, os; print(os.path.realpath(sys.executable) if sys.prefix != sys.base_prefix else sys.executable)"
    )
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    found = done.stdout.strip()
    return found if done.returncode == 0 and found and not probe(found)[1] else path
