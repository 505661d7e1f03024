"""What a container engine lacks: by system, version and what daemon.json says already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.host import system as hosts
from conftest import ROOT, load

c = load("library/container_engine_info.py")
SOURCES = yaml.safe_load((ROOT / "roles/container_engine/vars/main.yml").read_text())["container_engine_sources"]
SETTINGS = {"live-restore": True, "log-driver": "local"}
# As the systems' own files have it.
OS_RELEASE = {
    "debian-12": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n',
    "ubuntu-22.04": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nID=ubuntu\nID_LIKE=debian\n',
    "ubuntu-24.04": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n',
    "rocky-9": 'NAME="Rocky Linux"\nVERSION="9.5 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.5"\n',
    "amzn-2023": 'NAME="Amazon Linux"\nVERSION="2023"\nID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n',
    "openeuler-22.03": 'NAME="openEuler"\nVERSION="22.03 (LTS-SP4)"\nID="openEuler"\nVERSION_ID="22.03"\n',
    "openeuler-24.03": 'NAME="openEuler"\nVERSION="24.03 (LTS-SP1)"\nID="openEuler"\nVERSION_ID="24.03"\n',
}


def assessed(**changes: Any) -> dict[str, Any]:
    options = {key: changes.pop(key) for key in ("cdi", "source", "settings", "environment") if key in changes}
    state = {
        "installed": True, "packages": ["docker.io 28.2.2"], "version": "28.2.2", "live": True, "answer": "", "config": dict(SETTINGS),
        "certificates": {"registry.example": ""}, "stale": False, "os": {"key": "ubuntu-24.04"}, "problems": [], **changes,
    }  # fmt: skip
    found: dict[str, Any] = c.assess(
        state,
        {
            "cdi": True,
            "source": "auto",
            "sources": SOURCES,
            "settings": SETTINGS,
            "environment": {},
            "certificates": {"registry.example": "PEM\n"},
            **options,
        },
    )
    return found


BARE: dict[str, Any] = {"installed": False, "packages": [], "version": None, "live": False, "config": {}}


@pytest.mark.parametrize("key", OS_RELEASE)
def test_systems_are_known_by_their_own_file(key: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(OS_RELEASE[key])
    found = hosts.os_release(str(tmp_path))
    assert found["key"] == key and found["family"] == ("apt" if key.startswith(("debian", "ubuntu")) else "dnf")
    assert key in SOURCES


def test_a_system_without_the_file_is_unknown(tmp_path: Path) -> None:
    assert hosts.os_release(str(tmp_path))["key"] is None


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("5:26.1.5-1~debian.12~bookworm", (26, 1, 5)),
        ("20.10.24+dfsg1-1", (20, 10, 24)),
        ("v28.2", (28, 2)),
        (None, ()),
        ("abc", ()),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str | None, expected: tuple[int, ...]) -> None:
    assert hosts.numbers(version) == expected


def test_a_ready_engine_lacks_nothing() -> None:
    found = assessed()
    assert found["packages"] == found["problems"] == [] and not found["config_changed"] and not found["restart"]


@pytest.mark.parametrize(
    ("key", "cdi", "origin"),
    [("ubuntu-24.04", True, "distribution"), ("debian-12", True, "vendor"), ("debian-12", False, "distribution"), ("rocky-9", True, "vendor"),
     ("amzn-2023", False, "distribution"), ("openeuler-22.03", False, "distribution")],
)  # fmt: skip
def test_where_it_comes_from(key: str, cdi: bool, origin: str) -> None:
    found = assessed(**BARE, os={"key": key}, cdi=cdi)
    assert found["origin"] == origin and found["packages"] == SOURCES[key][origin]["packages"] and not found["problems"]


def test_an_unknown_system_and_a_source_that_is_too_old_are_refused() -> None:
    assert "installs none on suse-15" in assessed(**BARE, os={"key": "suse-15"})["problems"][0]
    assert "CDI needs 25" in assessed(**BARE, os={"key": "debian-12"}, source="distribution")["problems"][0]


def test_an_engine_that_is_too_old_is_told_and_not_replaced() -> None:
    found = assessed(version="20.10.24", packages=["docker.io 20.10.24"])
    assert "Docker 20.10.24 is installed" in found["problems"][0] and found["packages"] == []
    assert assessed(version="20.10.24", cdi=False)["problems"] == []


def test_cdi_needs_its_flag_before_28_2_alone() -> None:
    assert json.loads(assessed(version="26.1.5")["config"])["features"] == {"cdi": True}
    assert "features" not in json.loads(assessed(version="28.2.2")["config"])
    assert json.loads(assessed(**BARE, os={"key": "debian-12"})["config"])["features"] == {"cdi": True}


def test_foreign_settings_stay() -> None:
    theirs = {
        "log-driver": "journald",
        "runtimes": {"ascend": {"path": "/x"}},
        "features": {"buildkit": True},
        "data-root": "/data",
    }
    config = json.loads(assessed(version="26.1.5", config=theirs)["config"])
    assert config == {**theirs, "live-restore": True, "features": {"buildkit": True, "cdi": True}}


def test_an_engine_that_has_not_read_its_settings_is_to_be_restarted() -> None:
    assert assessed(stale=True)["restart"] and not assessed(stale=True, live=False)["restart"]


def test_an_engine_that_does_not_answer_is_told() -> None:
    assert (
        "does not answer (docker.service is failed)"
        in assessed(live=False, answer="docker.service is failed")["problems"][0]
    )


def test_a_broken_daemon_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text("{")
    state = c.look(str(tmp_path / "daemon.json"), [])
    assert "is not JSON" in state["problems"][0] and state["config"] == {}


def test_docker_gets_the_proxies_but_no_password() -> None:
    environment = {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "10.0.0.0/8", "SSL_CERT_FILE": "/x"}
    config = json.loads(assessed(environment=environment)["config"])
    assert config["proxies"] == {"https-proxy": "http://proxy.example:3128", "no-proxy": "10.0.0.0/8"}
    assert "proxies" not in json.loads(
        assessed(environment={"HTTPS_PROXY": "http://me:secret@proxy.example:3128"})["config"]
    )
    theirs = {"proxies": {"http-proxy": "http://other.example"}}
    assert json.loads(assessed(environment=environment, config=theirs)["config"])["proxies"] == theirs["proxies"]


def test_certificates_that_docker_lacks_are_named() -> None:
    assert assessed()["certificates"] == ["registry.example"]
    assert assessed(certificates={"registry.example": "PEM"})["certificates"] == []
