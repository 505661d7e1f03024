"""What leaves a host when asking for help: everything that helps, and no secret."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path
from typing import Any


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
    (root / "logs/demo.log").write_text(
        "listening\nkey THEKEYTHEKEYTHEKEY and OLDKEYOLDKEYOLDKEY\nsaid vault%2Fsecret and proxy-password\n"
    )
    given = {"serving_root": str(root), "supervisor": "supervisord"}
    found = run_module("support_info", {**given, "secrets": ["vault/secret", "http://u:proxy-password@proxy:1"]})[
        "files"
    ]
    everything = json.dumps(found)
    for secret in ("THEKEY", "OLDKEY", "topsecret", "hf_abc", "vault", "proxy-password"):
        assert secret not in everything
    assert "exec vllm serve" in found["services/demo/current/start"] and "listening" in found["services/demo/log.txt"]
    assert json.loads(found["accelerators.json"])["kind"] == "cpu" and "tools/df-h.txt" in found
    path = tmp_path / "reports/support/box.tar.gz"
    packed = run_module("support_bundle", {"path": str(path), "files": found})
    assert packed["bytes"] == path.stat().st_size and stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert "box/services/demo/log.txt" in archive.getnames()
