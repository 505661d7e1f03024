"""What all tests share: modules run in this process, or for real in one of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from hypothesis import HealthCheck, settings

# Machines are noisy: time decides nothing here.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("project"), max_examples=20_000)
settings.load_profile("fuzz" if os.environ.get("FUZZ") else "project")

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
DEMO = ROOT / "models" / "demo"
# Modules import ansible.module_utils.serving, which Ansible puts together from our folder when it ships them.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.append(str(ROOT))  # filters share the package `planning`
sys.path.append(str(ROOT / "molecule/shared"))  # testhosts
pytest_plugins = ("hosts",)


def load(path: str) -> Any:
    """Import a file of the project that is no package: a module, a filter, a lookup."""
    name = "project_" + path.replace("/", "_").removesuffix(".py")
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Ended(Exception):
    """A module ended; `result` is what it returned."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg", ""))
        self.result = result


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """run_module("fit", {...}, check=False) -> the module's result; `failed` is True where it failed."""

    def end(failed: bool) -> Callable[..., None]:
        def stop(self: Any, **result: Any) -> None:
            raise Ended({"failed": failed, "changed": False, **result})

        return stop

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end(False))
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", end(True))

    def run(name: str, args: dict[str, Any], check: bool = False) -> dict[str, Any]:
        module = load(f"library/{name}.py")
        with (
            patch_module_args({**args, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(Ended) as ended,
        ):
            module.main()
        return ended.value.result

    return run


def start_module(name: str, args: dict[str, Any]) -> subprocess.Popen[str]:
    """A module as a process of its own, so that it can be killed. Its output is the result as JSON."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import conftest as c;"
        "from ansible.module_utils.testing import patch_module_args;"
        "p = patch_module_args(json.loads(sys.argv[3])); p.__enter__(); c.load(f'library/{sys.argv[2]}.py').main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT / "tests"), name, json.dumps(args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def playbook(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """playbook("deploy.yml", "-l", "local") runs ansible-playbook as a person does, colours off."""

    def run(name: str, *options: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["ansible-playbook", name, *options],
            cwd=ROOT,
            env=ansible_environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert "Skipping plugin" not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def ansible_environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "VLLM_ANSIBLE_OWNERS": str(ROOT.stat().st_uid),
        "PATH": path,
    }


def tools_lock() -> str:
    """Of the tools' lock, what installs others and what runs services: a minute less than with the hubs' clients."""
    text = (ROOT / "roles/python_runtime/files/tools.lock").read_text()
    return "".join(re.findall(r"^(?:uv|supervisor)==[^\n]*\n(?: +--hash=[^\n]*\n)*", text, flags=re.M))


def make_tools(folder: Path) -> Path:
    """A tools environment below this folder, made by our own module."""
    path = folder / "tools"
    process = start_module("python_env", {"path": str(path), "lock": tools_lock()})
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return path


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tools environment, made once."""
    yield make_tools(tmp_path_factory.mktemp("t"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write tests/fixtures/rendered anew")
    parser.addoption("--soak", action="store_true", help="also run what takes longer than CI has")
    parser.addoption("--rounds", type=int, default=20, help="rounds of kill -9 in each test that kills")


@pytest.fixture
def hub(model: Path) -> Iterator[Any]:
    """A hub on loopback that serves the test file's `model`."""
    from hub import Hub

    found = Hub(model)
    yield found
    found.close()
