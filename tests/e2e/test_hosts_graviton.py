"""The same host as one without GPUs."""

from __future__ import annotations

from runner import Host, flat


def test_graviton4_serves_with_a_memory_limit(arm: Host) -> None:
    output = arm.run("deploy.yml")
    assert "qwen2-7b-instruct is ready at http://127.0.0.1:8000/v1" in output
    limit = int(arm.sh("docker inspect --format '{{.HostConfig.Memory}}' vllm-qwen2-7b-instruct"))
    assert limit == 2_911_000 + 268_435_456 + 2_500_000_000
    assert arm.sh("docker inspect --format '{{.HostConfig.DeviceRequests}}' vllm-qwen2-7b-instruct") in (
        "[]",
        "<no value>",
    )
    assert arm.changed(arm.run("deploy.yml")) == 0


def test_a_service_that_outgrows_its_memory_is_killed_and_told(arm: Host) -> None:
    row = {**arm.overrides()["qwen2-7b-instruct"], "overhead_bytes": 1_000_000}
    output = flat(arm.run("deploy.yml", "--tags", "serve,verify", ok=False, overrides={"qwen2-7b-instruct": row}))
    assert "the kernel killed the engine (SIGKILL) for lack of memory" in output, output


PYTHON39 = """
set -e
echo 'deb http://deb.debian.org/debian bullseye main' > /etc/apt/sources.list.d/bullseye.list
apt-get -qq update
apt-get -qq install --yes --no-install-recommends python3.9-minimal libpython3.9-stdlib >/dev/null
rm /etc/apt/sources.list.d/bullseye.list
"""


def test_a_host_whose_own_python_is_3_9(arm: Host) -> None:
    """As on Rocky 9: modules run on 3.9, the tools environment on a newer one that is there, and without one it is said."""
    arm.sh(PYTHON39)
    # Another port: the service of the test before is started again and again, and holds its own now and then.
    row = {**arm.overrides()["qwen2-7b-instruct"], "port": 8001}
    values = {
        "ansible_python_interpreter": "/usr/bin/python3.9",
        "serving_root": "/srv/other",
        "overrides": {"qwen2-7b-instruct": row},
    }
    output = arm.run("deploy.yml", "--tags", "preflight,prepare", **values)
    assert "Make the tools environment" in output
    assert arm.sh("/srv/other/tools/bin/python --version").startswith("Python 3.11")
    assert arm.changed(arm.run("deploy.yml", "--tags", "preflight,prepare", **values)) == 0
    arm.sh("rm -rf /srv/other")
    output = flat(
        arm.run("deploy.yml", "--tags", "preflight,prepare", ok=False, tools_python="/usr/bin/python3.9", **values)
    )
    assert "/usr/bin/python3.9 is Python 3.9" in output and "tools_python" in output, output
    arm.sh("rm -rf /srv/other")


def test_uninstall_leaves_no_container_and_no_unit(arm: Host) -> None:
    arm.run("playbooks/uninstall.yml", service="qwen2-7b-instruct")
    assert arm.sh("docker ps -aq; ls /etc/systemd/system/ | grep vllm- || true; ls /srv/vllm 2>/dev/null || true") == ""
