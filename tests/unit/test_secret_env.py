"""secret_env on a host: a 0600 file outside of the releases, and a mark that tells nothing elsewhere."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import secret_env
from conftest import ROOT
from services import Host, until
from test_services import host  # noqa: F401 - a fixture

SECRETS = {"HF_TOKEN": "hf_'quoted' $HOME `id`\nsecond line", "A_KEY": "0123456789"}


def test_the_file_is_private_and_gives_back_what_was_given(tmp_path: Path) -> None:
    assert secret_env.write_secrets(str(tmp_path), SECRETS)
    path = tmp_path / "secret_env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    script = f'. {path}; printf \'%s|%s\' "$HF_TOKEN" "$A_KEY"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "{HF_TOKEN}|{A_KEY}".format(**SECRETS)
    assert not secret_env.write_secrets(str(tmp_path), SECRETS)
    path.chmod(0o644)
    assert secret_env.write_secrets(str(tmp_path), SECRETS) and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_mark_is_of_this_host_and_of_these_values(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    for folder in (here, there):
        folder.mkdir()
    mark = secret_env.mark(str(here), SECRETS, make=True)
    assert mark == secret_env.mark(str(here), SECRETS, make=False) and mark.startswith("A_KEY, HF_TOKEN (")
    assert mark != secret_env.mark(str(there), SECRETS, make=True)
    assert mark != secret_env.mark(str(here), {**SECRETS, "A_KEY": "9876543210"}, make=True)
    assert stat.S_IMODE((here / "secret_salt").stat().st_mode) == 0o600


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    secret_env.mark(str(tmp_path), SECRETS, make=False)
    assert list(tmp_path.iterdir()) == []


def test_the_file_goes_when_no_release_wants_it(tmp_path: Path) -> None:
    secret_env.write_secrets(str(tmp_path), SECRETS)
    release = tmp_path / "releases/abc"
    release.mkdir(parents=True)
    (release / "spec.json").write_text(json.dumps({"secret_env": "A (1)"}))
    assert not secret_env.write_secrets(str(tmp_path), {})  # a rollback may read it
    (release / "spec.json").write_text("{}")
    assert secret_env.write_secrets(str(tmp_path), {}) and not (tmp_path / "secret_env").exists()
    assert not secret_env.write_secrets(str(tmp_path), {})


@pytest.mark.parametrize("secrets", [SECRETS, {}])
def test_what_a_killed_writer_left_of_a_secret_goes_with_the_next_deploy(
    tmp_path: Path, secrets: dict[str, str]
) -> None:
    for name in ("secret_env.part.17", "api_key.part.4000000", "run.json.part.1"):
        (tmp_path / name).write_text("hunter2")
    secret_env.write_secrets(str(tmp_path), secrets)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json.part.1", *["secret_env"] * bool(secrets)]


def deploy(host: Host, secrets: dict[str, str], dry: bool = False) -> dict[str, Any]:  # noqa: F811
    run = host.run
    host.run = lambda name, args, check=False: run(name, {**args, "secret_env": secrets}, check=check)
    try:
        return host.service(dry=dry)
    finally:
        host.run = run


def test_another_secret_restarts_the_service_and_is_shown_nowhere(host: Host) -> None:  # noqa: F811
    first = deploy(host, SECRETS)
    assert first["changed"], first
    pid = until(host.process)["pid"]
    assert not deploy(host, SECRETS)["changed"] and host.process()["pid"] == pid  # type: ignore[index]
    other = {**SECRETS, "A_KEY": "another-secret"}
    dry = deploy(host, other, dry=True)
    assert dry["changed"] and any("secret_env" in reason for reason in dry["reasons"])
    changed = deploy(host, other)
    assert changed["changed"] and until(host.process)["pid"] != pid
    kept = "".join(p.read_text() for p in (host.folder / "releases").rglob("*") if p.is_file())
    for text in (str(first), str(dry), str(changed), kept):
        assert "0123456789" not in text and "another-secret" not in text and "quoted" not in text


@pytest.mark.parametrize("template", ["templates/vllm/start.j2", "templates/container/environment.j2"])
def test_every_runtime_reads_the_file(template: str) -> None:
    assert "secret_env" in (ROOT / template).read_text()
