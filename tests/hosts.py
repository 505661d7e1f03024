"""One test host for the files test_hosts_*: an image takes minutes to make and a server half a minute to start.

Its tests run in the order of files and lines, in one process: each finds the host as the one before has left it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import engine
import pytest
import testhosts
from runner import Host

NEEDS = ("dockerd", "docker", "mmdebstrap")

# Real processes, servers, installations and kills: seconds a test. `make e2e` runs them, `make unit` doesn't.
SLOW = tuple(
    f"test_{name}" for name in ("add_model", "bundle", "canary", "convert", "deploy", "exposure", "fanout", "fetch", "gateway",
      "group_deploy", "group_playbooks", "group_runner", "group_services", "haproxy", "hostile", "inputs", "keys", "modes", "part", "peers", "policies",
      "python_env", "rollback", "secret_env", "services", "setup_venv", "ssh_bootstrap", "support", "verify", "weights")
)  # fmt: skip


def shares_the_engine(item: pytest.Item) -> bool:
    """Does it use the container engine of this machine? It is one for all: those run in one process, one after the other."""
    module = getattr(item, "module", None)
    return item.path.stem.startswith("test_hosts_") or any(value is engine for value in vars(module or object).values())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        long = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    lacking = not os.environ.get("CI") and (os.getuid() != 0 or not all(shutil.which(tool) for tool in NEEDS))
    for item in items:
        name = item.path.stem
        shared = shares_the_engine(item)
        item.add_marker(pytest.mark.xdist_group("engine" if shared else name))
        if shared or name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.e2e)
            if name.startswith("test_hosts_") and lacking:
                item.add_marker(pytest.mark.skip(reason=f"needs root and {', '.join(NEEDS)}"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Without their groups, workers would wait for one another's container engine until CI ends them."""
    if node.config.option.dist == "loadgroup" and not all("@" in name for name in ids):
        pytest.exit("this pytest drops the groups of pytest-xdist; install the versions of requirements-dev.lock", 4)


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with engine.engine(tmp_path_factory.mktemp("engine")):
        testhosts.remove("host")
        testhosts.bare("host", "h100")
        yield Host("h100", "gpu", tmp_path_factory.mktemp("testhosts"))
        testhosts.remove("host")


@pytest.fixture(scope="session")
def arm(gpu: Host) -> Host:
    """The same host as one without GPUs."""
    return Host("graviton4", "arm", gpu.inventory.parent)


@pytest.fixture(scope="session")
def npu(gpu: Host) -> Host:
    """The same host with two Atlas 300I Duo in its slots."""
    testhosts.npus("host")
    return Host("atlas300iduo", "npu", gpu.inventory.parent)


@pytest.fixture(scope="session")
def served(gpu: Host) -> Host:
    """One service that answers, by deploy.yml."""
    gpu.run("deploy.yml", overrides={"qwq-32b": testhosts.stub("good")})
    return gpu
