"""Keys of package repositories: the listed one is used, whatever else a server sends is not. Keys are made by the real gpg."""

from __future__ import annotations

import contextlib
import gzip
import io
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import openpgp
from conftest import ROOT, load
from tables import SETTINGS


def gpg(home: Path, *words: str, data: bytes = b"") -> bytes:
    return subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--quiet", *words], input=data, check=True, capture_output=True
    ).stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three keys: RSA with a subkey, ed25519, and a third that nobody lists."""
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    for name, kind in (("vendor", "rsa2048"), ("curve", "ed25519"), ("stranger", "ed25519")):
        gpg(home, "--passphrase", "", "--quick-generate-key", name, kind, "sign", "never")
    return home


def fingerprint_of(home: Path, name: str) -> str:
    lines = gpg(home, "--with-colons", "--list-keys", name).decode().splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def ask(run_module: Any, site: str, tmp_path: Path, listed: list[str], file: str = "gpg", **more: Any) -> Any:
    given = {
        "url": f"{site}/{file}",
        "dest": str(tmp_path / "keys/x.asc"),
        "fingerprints": listed,
        "whose": "signing_keys.docker",
    }
    return run_module("signing_key", {**given, **more})


@pytest.mark.parametrize("armour", [[], ["--armor"]])
@pytest.mark.parametrize("name", ["vendor", "curve"])
def test_the_listed_key_is_written_as_gpg_reads_it(
    home: Path, site: str, tmp_path: Path, run_module: Any, armour: list[str], name: str
) -> None:
    (tmp_path / "www/gpg").write_bytes(gpg(home, *armour, "--export", name))
    wanted = fingerprint_of(home, name)
    spaced = " ".join(wanted[at : at + 4] for at in range(0, 40, 4)).lower()
    found = ask(run_module, site, tmp_path, ["0" * 40, spaced])
    assert found["changed"] and found["fingerprints"] == [wanted] and found["left_out"] == []
    written = tmp_path / "keys/x.asc"
    shown = subprocess.run(
        ["gpg", "--show-keys", "--with-colons", str(written)], check=True, capture_output=True, text=True
    ).stdout
    assert wanted in shown
    (tmp_path / "www/gpg").unlink()  # nothing is fetched where it is there
    assert ask(run_module, site, tmp_path, [wanted])["changed"] is False


def test_of_several_keys_the_listed_ones_count(home: Path, site: str, tmp_path: Path, run_module: Any) -> None:
    (tmp_path / "www/gpg").write_bytes(
        gpg(home, "--armor", "--export", "stranger") + b"\n" + gpg(home, "--armor", "--export", "vendor", "curve")
    )
    found = ask(run_module, site, tmp_path, [fingerprint_of(home, "vendor")])
    assert found["left_out"] == [fingerprint_of(home, "stranger"), fingerprint_of(home, "curve")]
    assert set(openpgp.keys((tmp_path / "keys/x.asc").read_bytes())) == {fingerprint_of(home, "vendor")}


def test_another_key_is_refused_with_its_name_and_nothing_is_written(
    home: Path, site: str, tmp_path: Path, run_module: Any
) -> None:
    (tmp_path / "www/gpg").write_bytes(gpg(home, "--export", "stranger"))
    message = ask(run_module, site, tmp_path, [fingerprint_of(home, "vendor")])["msg"]
    assert (
        fingerprint_of(home, "stranger") in message and "signing_keys.docker lists" in message and "mirror" in message
    )
    assert not (tmp_path / "keys").exists()


def test_a_key_that_lies_there_and_is_another_is_replaced(
    home: Path, site: str, tmp_path: Path, run_module: Any
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/x.asc").write_bytes(gpg(home, "--armor", "--export", "stranger"))
    (tmp_path / "www/gpg").write_bytes(gpg(home, "--armor", "--export", "vendor"))
    assert ask(run_module, site, tmp_path, [fingerprint_of(home, "vendor")])["changed"]
    assert set(openpgp.keys((tmp_path / "keys/x.asc").read_bytes())) == {fingerprint_of(home, "vendor")}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>proxy says no</html>",
        b"\x99\x01",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x80",
        bytes(range(256)),
        b"\x99\xff\xff" + b"x" * 50,
    ],
)
def test_what_is_no_key_is_refused_in_a_sentence(
    home: Path, site: str, tmp_path: Path, run_module: Any, content: bytes
) -> None:
    (tmp_path / "www/gpg").write_bytes(content)
    message = ask(run_module, site, tmp_path, ["A" * 40])["msg"]
    assert "is refused" in message and "unexpected" not in message, message


def test_a_cut_key_is_refused_at_every_byte(home: Path) -> None:
    whole = gpg(home, "--export", "curve")
    for size in range(1, len(whole)):
        try:
            found = openpgp.keys(whole[:size])
        except ValueError:
            continue
        assert (
            set(found) == {fingerprint_of(home, "curve")} and size > 50
        )  # cut between packets: the key itself is whole


@pytest.mark.parametrize("listed", [["0EBFCD88"], ["8D81803C0EBFCD88"], ["g" * 40], [""]])
def test_a_short_key_id_is_no_fingerprint(site: str, tmp_path: Path, run_module: Any, listed: list[str]) -> None:
    assert "can be forged" in ask(run_module, site, tmp_path, listed)["msg"]


def test_a_server_that_is_not_there_is_said(site: str, tmp_path: Path, run_module: Any) -> None:
    assert "can't be fetched" in ask(run_module, site, tmp_path, ["A" * 40], "nothing")["msg"]
    assert "can't be fetched" in ask(run_module, "http://127.0.0.1:9", tmp_path, ["A" * 40])["msg"]


def test_a_key_inside_a_package_is_read_and_no_script_of_it_runs(
    home: Path, site: str, tmp_path: Path, run_module: Any
) -> None:
    root = tmp_path / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/share/keyrings").mkdir(parents=True)
    (root / "usr/share/keyrings/cuda.gpg").write_bytes(gpg(home, "--export", "vendor"))
    (root / "DEBIAN/control").write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n")
    (root / "DEBIAN/postinst").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (root / "DEBIAN/postinst").chmod(0o755)
    subprocess.run(["dpkg-deb", "--build", str(root), str(tmp_path / "www/x.deb")], check=True, capture_output=True)
    vendor = fingerprint_of(home, "vendor")
    assert ask(run_module, site, tmp_path, [vendor], "x.deb", member="usr/share/keyrings/cuda.gpg")["fingerprints"] == [
        vendor
    ]
    assert not (tmp_path / "ran").exists()
    other = ask(run_module, site, tmp_path, ["B" * 40], "x.deb", member="usr/share/keyrings/other.gpg")
    assert "the package has no usr/share/keyrings/other.gpg" in other["msg"]


def package(path: Path, files: bytes) -> None:
    """A Debian package with this archive of files, as `ar` writes it."""
    control = io.BytesIO()
    with tarfile.open(fileobj=control, mode="w:gz") as archive:
        entry, text = tarfile.TarInfo("./control"), b"Package: x\nVersion: 1\nArchitecture: all\n"
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    whole = b"!<arch>\n"
    rows = (("debian-binary", b"2.0\n"), ("control.tar.gz", control.getvalue()), ("data.tar.gz", gzip.compress(files)))
    for name, data in rows:
        whole += (
            f"{name:<16}0           0     0     100644  {len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    path.write_bytes(whole)


def test_a_package_that_inflates_is_refused_before_it_fills_the_memory(
    site: str, tmp_path: Path, run_module: Any
) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo("./key.gpg")
        entry.size = 5 << 20
        archive.addfile(entry, io.BytesIO(bytes(5 << 20)))
    for files, words in (
        (bytes(65 << 20), "the package's files are more than 64 MiB"),
        (plain.getvalue(), "key.gpg in the package has more than 4 MiB"),
        (b"x" * 2000, "it is no Debian package (ReadError)"),
    ):
        package(tmp_path / "www/x.deb", files)
        said = ask(run_module, site, tmp_path, ["A" * 40], "x.deb", member="key.gpg")["msg"]
        assert words in said and "is refused" in said, said


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
def test_a_key_that_trickles_has_its_deadline(
    tmp_path: Path, run_module: Any, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """In the head as in the file. At its end it would be an answer with no key."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            line, _ = server.accept()
            line.recv(9999)
            line.sendall(begun)
            for _ in range(40):
                line.sendall(b"x")
                time.sleep(0.1)
            line.sendall(b"\r\n\r\n")
            line.close()

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setattr(load("library/signing_key.py"), "DEADLINE", 1.0)
    said = ask(run_module, f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path, ["A" * 40])["msg"]
    assert "/gpg did not come within 1 s; ask another mirror" in said
    server.close()


def test_every_key_that_roles_use_is_checked() -> None:
    """No role fetches a key by another way, and each name has fingerprints in the tables."""
    table = SETTINGS["signing_keys"]
    assert all(len(name) == 40 for names in table.values() for name in names)
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        text = path.read_text()
        assert "get_url" not in text and "apt_key" not in text and "rpm_key" not in text and "deb:" not in text, path
        for line in text.splitlines():
            if "gpgkey:" in line or "signed-by=" in line.lower():
                assert "/vllm-ansible-" in line, f"{path}: {line}"
