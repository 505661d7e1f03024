"""Bundles: collected for another machine, packed, checked, unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from conftest import load

b = load("library/env_bundle.py")
e = load("library/python_env.py")
Run = Callable[..., dict[str, Any]]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def bundle(folder: Path, limit: int = 1000, **manifest: Any) -> Path:
    """A bundle of one small package with a console script."""
    tree = folder / "tree"
    (tree / "hello-1.dist-info").mkdir(parents=True)
    (tree / "hello.py").write_text(f"NOISE = '{os.urandom(3000).hex()}'\n\n\ndef main():\n    print('hello')\n")
    (tree / "hello-1.dist-info/entry_points.txt").write_text(
        "[console_scripts]\nhello = hello:main\n\n[other]\nx = y:z\n"
    )
    (tree / "left/out").mkdir(parents=True)
    (tree / "left/out/big.so").write_text("x")
    out = folder / "bundle"
    out.mkdir()
    rows = b.pack(str(tree), str(out), ["left/*"], limit)
    (out / "bundle.json").write_text(
        json.dumps(
            {
                "recipe": "1",
                "python": PYTHON,
                "arch": os.uname().machine,
                "parts": rows,
                "packages": 1,
                "provided": [],
                **manifest,
            }
        )
    )
    return out


def make(run: Run, source: Path, target: Path) -> dict[str, Any]:
    return run("python_env", {"path": str(target), "bundle": str(source), "python": sys.executable})


def test_a_bundle_becomes_an_environment(run_module: Run, tmp_path: Path) -> None:
    source, target = bundle(tmp_path), tmp_path / "env"
    assert len(list(source.glob("part*"))) > 1
    assert make(run_module, source, target)["changed"]
    done = subprocess.run([target / "bin/hello"], capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n" and not list(target.rglob("big.so"))
    # an engine that spawns its workers imports the script again: it must not run then
    assert 'if __name__ == "__main__":' in (target / "bin/hello").read_text()
    assert not make(run_module, source, target)["changed"]


def test_a_damaged_part_is_named_and_leaves_no_environment(run_module: Run, tmp_path: Path) -> None:
    source, target = bundle(tmp_path), tmp_path / "env"
    part = sorted(source.glob("part*"))[-1]
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(bytes(data))
    result = make(run_module, source, target)
    assert result["failed"] and ("is damaged" in result["msg"] or "can't be unpacked" in result["msg"])
    assert not (target / ".complete.json").exists()


def test_a_bundle_for_another_machine_is_refused(run_module: Run, tmp_path: Path) -> None:
    source = bundle(tmp_path, python="3.8")
    assert (
        f"is made for Python 3.8 on {os.uname().machine}, this is Python {PYTHON}"
        in make(run_module, source, tmp_path / "env")["msg"]
    )
    (source / "bundle.json").write_text("{}")
    assert "is no bundle" in make(run_module, source, tmp_path / "env")["msg"]


def test_what_the_target_has_stays_visible(run_module: Run, tmp_path: Path) -> None:
    """The interpreter of an environment hands on that environment's packages, as pytest here."""
    source, target = bundle(tmp_path, provided=["pytest"]), tmp_path / "env"
    assert make(run_module, source, target)["changed"]
    subprocess.run([target / "bin/python", "-c", "import hello, pytest"], check=True)


def test_packing_is_reproducible(tmp_path: Path) -> None:
    (tmp_path / "t/x").mkdir(parents=True)
    (tmp_path / "t/x/a.py").write_text("a")
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        [row] = b.pack(str(tmp_path / "t"), str(tmp_path / name), [], 1 << 20)
        data = (tmp_path / name / row["file"]).read_bytes()
        assert row["bytes"] == len(data) and row["sha256"] == hashlib.sha256(data).hexdigest()
        digests.append(row["sha256"])
        os.utime(tmp_path / "t/x/a.py", (1, 1))
    assert digests[0] == digests[1]


def test_only_what_is_wanted_and_pinned_goes_in() -> None:
    lock = "# lock\nTorch==2.11.0\nflag-gems==5.0.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nnumpy==2.0 ; python_version > '3'\n"
    assert b.wanted(lock, {"torch"}) == [
        "flag-gems==5.0.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n",
        "numpy==2.0 ; python_version > '3'\n",
    ]
    with pytest.raises(Refusal, match="NAME==VERSION"):
        b.wanted("torch>=2\n", set())


def test_older_c_libraries_wheels_run_on_newer_ones() -> None:
    names = b.platforms("aarch64", "2.34")
    assert (
        names[0] == "manylinux_2_34_aarch64"
        and "manylinux_2_17_aarch64" in names
        and "manylinux_2_35_aarch64" not in names
    )


def test_requirements_of_an_image_must_not_move() -> None:
    build = load("library/image_build.py")
    for good in ("flag_gems==5.0.2", "git+https://github.com/x/y@" + "a" * 40):
        build.check_requirement(good)
    for bad in ("flag_gems", "flag_gems>=5", "git+https://github.com/x/y", "git+https://github.com/x/y@main"):
        with pytest.raises(Refusal, match="is not pinned"):
            build.check_requirement(bad)
    text = build.dockerfile(
        {
            "base": "sha256:1",
            "activate": "source /x activate y",
            "requirements": ["a==1", "b==2"],
            "environment_of_pip": {"PIP_CERT": "/c"},
        }
    )
    assert (
        text.startswith('FROM sha256:1\nARG PIP_CERT\nRUN ["/bin/bash", "-c", ')
        and "/c" not in text
        and "a==1 b==2" in text
    )


def test_no_proxy_or_password_stays_in_an_image_s_history() -> None:
    build = load("library/image_build.py")
    given = {"base": "sha256:1", "activate": "", "requirements": ["a==1"]}
    proxies = {"HTTPS_PROXY": "http://u:p@h:1", "no_proxy": "x", "PIP_CERT": "/c"}
    assert (
        "ARG PIP_CERT" in (text := build.dockerfile({**given, "environment_of_pip": proxies}))
        and "PROXY" not in text.upper()
    )
    with pytest.raises(Refusal, match="PIP_INDEX_URL of fetch_environment has a password"):
        build.dockerfile({**given, "environment_of_pip": {"PIP_INDEX_URL": "https://u:p@h/simple"}})


BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "NAME-1.0-TAG.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as out:
        out.writestr("NAME.py", "")
        out.writestr("NAME-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\n")
        out.writestr("NAME-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: TAG\\n")
        out.writestr("NAME-1.0.dist-info/RECORD", "")
    return name
"""


def source_of(folder: Path, name: str, tag: str) -> str:
    """A package that is published as its source alone; the lock's entry."""
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for file, text in {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": BACKEND.replace("NAME", name).replace("TAG", tag),
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{file}")
            entry.size = len(text)
            out.addfile(entry, io.BytesIO(text.encode()))
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_a_package_without_a_wheel_is_built_if_it_is_python_alone(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    tag = f"cp{PYTHON.replace('.', '')}"
    pure, compiled = source_of(tmp_path, "pure", "py3-none-any"), source_of(tmp_path, "compiled", f"{tag}-{tag}-any")
    given = {"dest": str(tmp_path / "out"), "lock": pure, "python": PYTHON, "arch": os.uname().machine}
    made = run_module("env_bundle", given)
    assert made["changed"] and made["packages"] == 1, made
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bundle.json", "part00"]
    make(run_module, tmp_path / "out", tmp_path / "env")
    subprocess.run([tmp_path / "env/bin/python", "-c", "import pure"], check=True)
    with pytest.raises(
        Refusal, match=r"compiled==1.0 is published without a wheel and has to be compiled \(compiled-1.0-cp"
    ):
        b.built(compiled, str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, "", "gcc is not there")
    monkeypatch.setattr(b, "pip", lambda *_: failed)
    with pytest.raises(Refusal, match="none can be built here; name it in leave_out:\ngcc is not there"):
        b.built(pure, str(tmp_path))
