"""What leaves a host when asking for help: everything that helps, and no secret."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import load

s = load("library/support_info.py")


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("export HF_TOKEN='hf_abcdefghijklmnopqrstuvwx'", "HF_TOKEN", "hf_abc"),
        ('{"api_key": "s3cret-value", "port": 8000}', '"port": 8000', "s3cret"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization", "abcdefgh"),
        ("https://me:hunter2@proxy.example:3128/x", "proxy.example:3128", "hunter2"),
        ("VLLM_API_KEY=abc123def456", "VLLM_API_KEY", "abc123"),
        ("non-default args: {'api_key': ['KNOWNKNOWNKNOWN'], 'max_tokens': 16}", "'max_tokens': 16", "KNOWN"),
        ("password: geheim", "password", "geheim"),
    ],
)
def test_secrets_are_masked(text: str, kept: str, gone: str) -> None:
    found = s.masked(text, ["KNOWNKNOWNKNOWN"])
    assert kept in found and gone not in found and s.MASK in found


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 16",
        "generated 120 tokens",
        '"api_key": true',
        "tokenizer: Qwen2Tokenizer",
        "prompt_tokens=38",
        "GPU KV cache size: 299,593 tokens",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert s.masked(text, []) == text


def test_a_bundle_has_the_services_and_not_their_keys(tmp_path: Path, run_module: Any) -> None:
    root = tmp_path / "srv"
    folder = root / "services/demo"
    release = folder / "releases/0123456789ab"
    release.mkdir(parents=True)
    (release / "spec.json").write_text(
        json.dumps({"endpoint": "http://127.0.0.1:1", "env": {"HF_TOKEN": "hf_abcdefghijklmnopqrst"}})
    )
    (release / "start").write_text("export SECRET_THING=topsecretvalue\nexec vllm serve\n")
    (folder / "current").symlink_to("releases/0123456789ab")
    (folder / "api_key").write_text("THEKEYTHEKEYTHEKEY\nOLDKEYOLDKEYOLDKEY\n")
    (root / "logs").mkdir()
    (root / "logs/demo.log").write_text("listening\nkey THEKEYTHEKEYTHEKEY and OLDKEYOLDKEYOLDKEY\n")
    found = run_module("support_info", {"serving_root": str(root), "supervisor": "supervisord"})["files"]
    everything = json.dumps(found)
    for secret in ("THEKEY", "OLDKEY", "topsecret", "hf_abc"):
        assert secret not in everything
    assert "exec vllm serve" in found["services/demo/current/start"] and "listening" in found["services/demo/log.txt"]
    assert json.loads(found["chips.json"])["kind"] == "cpu" and "tools/df-h.txt" in found
    path = tmp_path / "reports/support/box.tar.gz"
    packed = run_module("support_bundle", {"path": str(path), "files": found})
    assert packed["bytes"] == path.stat().st_size and stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert "box/services/demo/log.txt" in archive.getnames()
