"""What a container gets: rendered files against golden ones, rights, and a real engine that runs, drains, crashes and comes back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.serving.service import releases
from conftest import FIXTURES, ROOT, ansible_environment, load
from services import RUNNER, Contained, Result, boxed, until
from test_catalogue import ROWS, record

c = load("filter_plugins/container.py")
RENDERED, ENGINE_ROWS = FIXTURES / "rendered", FIXTURES / "engine_rows.yml"
FLAGSCALE = [row for row in ROWS.values() if row != "qwq-32b-atlas"]
needs_engine = pytest.mark.skipif(
    not engine.installed() and not os.environ.get("CI"), reason="needs root, docker and docker-registry"
)


def test_what_is_rendered_for_each_document_is_the_golden_file(tmp_path: Path, request: Any) -> None:
    """`pytest -k golden --golden` writes the files anew; look at the difference before you commit it."""
    for rows in ([], ["-e", f"@{ENGINE_ROWS}"]):
        done = subprocess.run(
            ["ansible-playbook", "tests/render.yml", "-e", f"out={tmp_path}", *rows],
            cwd=ROOT, env=ansible_environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    found = {
        f"{row.stem}/{name}": content
        for row in sorted(tmp_path.glob("*.json"))
        for name, content in json.loads(row.read_text()).items()
    }
    launch = (ROOT / "templates/container/launch.py").read_text()
    guard = (ROOT / "templates/guard/vllm_ansible_guard.py").read_text()
    for row in ROWS.values():  # programs, the same for all
        assert found.pop(f"{row}/launch.py").rstrip() == launch.rstrip()
    rendered = {*ROWS.values(), "qwq-32b-atlas-ascend", *yaml.safe_load(ENGINE_ROWS.read_text())["services"]}
    for row in rendered:
        assert found.pop(f"{row}/guard/vllm_ansible_guard.py").rstrip() == guard.rstrip()
    guarded = (ROOT / "templates/guard/guarded.py").read_text()
    assert found.pop("stock-sglang/guard/guarded.py").rstrip() == guarded.rstrip()
    if request.config.getoption("--golden"):
        shutil.rmtree(RENDERED, ignore_errors=True)
        for name, content in found.items():
            (RENDERED / name).parent.mkdir(parents=True, exist_ok=True)
            (RENDERED / name).write_text(content)
    assert found == {str(p.relative_to(RENDERED)): p.read_text() for p in RENDERED.rglob("*") if p.is_file()}
    assert {name.partition("/")[0] for name in found} == rendered


def test_the_atlas_command_is_the_documents() -> None:
    """Word by word what the document runs, but for what docs/vendor-documents.md lists: code from the weights' folder, name, address."""
    [command] = re.findall(
        r"^python3 -m vllm_mindspore\S+ (.*) 2>&1",
        (FIXTURES / "documents/QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore.md").read_text(),
        re.M,
    )
    run = (RENDERED / "qwq-32b-atlas/run").read_text().replace("\\\n", " ")
    ours = set(run[run.index("vllm_mindspore.entrypoints") :].split()[1:])
    theirs = set(command.replace('--model "/home/ckpt/QwQ"', "--model=/models/qwq-32b").split())
    assert theirs - ours == {"--trust-remote-code"}
    assert ours - theirs == {
        "--served-model-name=qwq-32b", "--host=0.0.0.0", "--port=8000", "--middleware=vllm_ansible_guard.Guard",
    }  # fmt: skip
    settings = yaml.safe_load((RENDERED / "qwq-32b-atlas/predict_qwq_32b.yaml").read_text())
    assert settings["processor"]["tokenizer"]["vocab_file"] == "/models/qwq-32b/vocab.json"
    assert "ASCEND_RT_VISIBLE_DEVICES=0,1,2,3" in (RENDERED / "qwq-32b-atlas/environment").read_text()


def test_npus_are_numbered_from_0_inside() -> None:
    """A container that gets the host's davinci 4 to 7 sees 0 to 3."""
    row = record("qwq-32b-atlas", devices=[3, 1], engine_args={"tensor_parallel_size": 2})
    assert row["env"]["ASCEND_RT_VISIBLE_DEVICES"] == "0,1"
    found = arguments("qwq-32b-atlas", devices=[3, 1], engine_args={"tensor_parallel_size": 2})
    assert [a for a in found if "davinci" in a][:2] == ["--device=/dev/davinci3", "--device=/dev/davinci1"]


@pytest.mark.parametrize("row", FLAGSCALE)
def test_the_leafs_file_holds_the_rows_options(row: str) -> None:
    """One item, vllm's options as the row has them, the model below its mount."""
    found = yaml.safe_load((RENDERED / row / "serve.yaml").read_text())
    assert len(found["serve"]) == 1 and found["experiment"]["runner"]["deploy"]["use_fs_serve"] is False
    args = found["serve"][0]["engine_args"]
    for key, value in c.FilterModule().filters()["options_mapping"](record(row)).items():
        assert args[key] == value
    assert args["model"] == f"/models/{record(row)['model']['name']}"
    assert all(not isinstance(value, (dict, list)) and value is not False for value in args.values())


@pytest.mark.parametrize("row", FLAGSCALE)
def test_the_experiment_has_the_layout_of_its_image(row: str) -> None:
    name = {"layout-1": f"config_{row}", "layout-2": "serve"}[record(row)["engine_version"]]
    experiment = yaml.safe_load((RENDERED / row / "conf" / f"{name}.yaml").read_text())
    assert experiment["defaults"] == ["_self_", {"serve": row}] and experiment["action"] == "run"
    assert (RENDERED / row / "conf/serve" / f"{row}.yaml").exists()


@pytest.mark.parametrize("knows", [True, False])
def test_requests_in_flight_finish_below_flagscale_too(tmp_path: Path, knows: bool) -> None:
    """A vLLM that aborts them unless it is told otherwise is told; an earlier one does not know the option."""
    source = tmp_path / "vllm/engine/arg_utils.py"
    source.parent.mkdir(parents=True)
    (tmp_path / "vllm/__init__.py").touch()
    source.write_text("shutdown_timeout: int = 0\n" if knows else "port: int = 8000\n")
    rendered = RENDERED / "qwen2-7b-instruct"
    [drain] = re.findall(r"--drain (\d+) ", (rendered / "run").read_text())
    read = "import sys, pathlib; print(pathlib.Path(sys.argv[1].partition('=')[2]).read_text())"
    launch = [sys.executable, ROOT / "templates/container/launch.py", "--drain", drain, "-c", read]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*launch, f"--config-path={rendered}/serve.yaml"], env=environment, check=True, capture_output=True, text=True
    )
    [before] = yaml.safe_load((rendered / "serve.yaml").read_text())["serve"]
    [after] = yaml.safe_load(done.stdout)["serve"]
    assert after["engine_args"] == {**before["engine_args"], **({"shutdown_timeout": int(drain)} if knows else {})}


def test_options_that_flagscale_would_spoil_are_spelt_so_that_they_arrive() -> None:
    args = {
        "enable_prefix_caching": False,
        "trust_remote_code": False,
        "limit": {"image": 18},
        "a": [1],
        "b": None,
        "n": 1,
    }
    given = {**record("qwq-32b"), "engine_args": args, "options_version": "0.8.5"}
    assert c.FilterModule().filters()["options_mapping"](given) == {
        "no_enable_prefix_caching": True, "limit": '{"image": 18}', "a": "1", "n": 1,
    }  # fmt: skip


def arguments(row: str = "qwq-32b", **override: Any) -> list[str]:
    return list(c.container_arguments(record(row, **override), "vllm-x", "/m/x@1", "/s/api_key"))


def test_secrets_are_a_mounted_file_and_in_no_argument() -> None:
    row = record("qwq-32b", secret_env={"HF_TOKEN": "hunter2-hunter2"})
    found = c.container_arguments(row, "vllm-x", "/m/x@1", "/s/api_key", secret_file="/s/secret_env")
    assert "--mount=type=bind,source=/s/secret_env,target=/run/secret_env,readonly" in found
    assert "hunter2" not in " ".join(found)
    assert "/run/secret_env" not in " ".join(arguments())


@pytest.mark.parametrize(
    ("row", "name"),
    [("qwq-32b-atlas", "ASCEND_RT_VISIBLE_DEVICES"), ("demo", "TORCHDYNAMO_DISABLE"), ("qwq-32b", "HF_HUB_OFFLINE")],
)
def test_what_a_row_has_shown_is_not_replaced_by_a_secret(row: str, name: str) -> None:
    """What `start` sets is read before the secrets are, which would win."""
    with pytest.raises(Exception, match=f"secret_env.{name} can't be set there; the service has it without being told"):
        record(row, engine_args={"enforce_eager": True}, secret_env={name: "4,5,6,7 of them"})


@pytest.mark.parametrize("row", FLAGSCALE)
def test_the_least_that_works_is_what_a_container_gets(row: str) -> None:
    found = arguments(row)
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges", "--ipc=private", "--read-only", "--init"} <= set(
        found
    )
    assert not any(
        word in " ".join(found) for word in ("privileged=", "--privileged", "--net=host", "--gpus", "seccomp")
    )
    assert all(mount.endswith((",readonly", ",target=/cache")) for mount in found if mount.startswith("--mount"))
    assert f"--publish=127.0.0.1:{record(row)['port']}:{record(row)['port']}" in found


def test_more_is_asked_for_in_rights() -> None:
    rights = ["cap:SYS_NICE", "writable-root", "host-network", "seccomp:unconfined"]
    found = arguments(rights=rights, rdma=True)
    assert {
        "--cap-add=SYS_NICE",
        "--network=host",
        "--security-opt=seccomp=unconfined",
        "--device=/dev/infiniband",
    } <= set(found)
    assert "--read-only" not in found and not any(a.startswith("--publish") for a in found)
    with pytest.raises(AnsibleFilterError, match="right 'privileged' is unknown; there are writable-root"):
        arguments(rights=["privileged"])


def test_devices_are_exact() -> None:
    found = arguments(engine_args={"tensor_parallel_size": 2}, devices=[3, 5])
    assert [a for a in found if a.startswith("--device")] == ["--device=nvidia.com/gpu=3", "--device=nvidia.com/gpu=5"]
    nodes = [a for a in arguments("qwq-32b-atlas") if a.startswith("--device=")]
    assert nodes[:2] == ["--device=/dev/davinci0", "--device=/dev/davinci1"] and "--device=/dev/hisi_hdc" in nodes


def test_a_cpus_memory_limit_is_weights_cache_and_overhead() -> None:
    found = arguments("qwen2-7b-instruct")
    assert f"--memory={15_231_233_024 + 17_179_869_184 + 12_884_901_888}b" in found


class Box(Contained):
    """A service in a container, under the real supervisord and foreground.py; the engine is a stub in a real image."""

    def __init__(self, root: Path, run: Callable[..., Result], client: Any, image: str) -> None:
        super().__init__(root, run, client, image, "demo")

    def service(self, mode: str = "good", state: str = "started") -> Result:
        row = {
            **record("qwen2-7b-instruct", port=self.port, drain_timeout=3),
            "service": "demo", "overhead_bytes": 0, "shm_bytes": 64 << 20,
        }  # fmt: skip
        row["model"] = {**row["model"], "name": "demo"}
        model = self.root / "model"
        model.mkdir(exist_ok=True)
        options = c.container_arguments(row, self.name, str(model), str(self.folder / "api_key"))
        stop = (RENDERED / "qwen2-7b-instruct/stop").read_text().replace("vllm-qwen2-7b-instruct", self.name)
        stop = re.sub(r"--time \d+", "--time 3", stop)
        inside = f"export HOST=0.0.0.0 VLLM_API_KEY=$(cat /run/api_key)\nexec /usr/bin/python3 /opt/stub_engine.py {mode} {self.port}\n"
        args: Result = {
            "name": "demo", "serving_root": str(self.root), "state": state, "supervisor": "supervisord",
            "python": sys.executable, "runner": RUNNER,
            "files": {"start": self.start(options), "stop": stop, "run": inside},
            "spec": {
                "endpoint": f"http://127.0.0.1:{self.port}", "served_name": "demo", "drain_timeout": 3, "ready_timeout": 30,
                "restart_limit": 5, "api_key": True, "check": {"prompt": "What is 127 + 45?", "expect": "172"},
            },
        }  # fmt: skip
        return self.run("inference_service", args)

    def ask(self, wait: int = 40) -> Result:
        base = {"serving_root": str(self.root), "names": ["demo"], "supervisor": "supervisord", "timeout": 5}
        return self.run("endpoint_probe", {**base, "wait": wait})


@pytest.fixture(scope="module")
def stub_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    with engine.program_image(
        tmp_path_factory.mktemp("c"), FIXTURES / "stub_engine.py", FIXTURES / "stub_model.py"
    ) as made:
        yield made


@pytest.fixture
def box(
    tmp_path_factory: pytest.TempPathFactory,
    tools: Path,
    run_module: Callable[..., Result],
    stub_image: tuple[Any, str],
) -> Iterator[Box]:
    yield from boxed(lambda root: Box(root, run_module, *stub_image), tmp_path_factory.mktemp("b"), tools, "demo")


@needs_engine
def test_it_runs_answers_and_ends_with_the_least_rights(box: Box) -> None:
    box.service()
    result = box.ask()
    assert not result["failed"], result
    assert not box.service()["changed"]
    [container] = box.containers()
    about = container.attrs
    host = about["HostConfig"]
    assert (
        host["CapDrop"] == ["ALL"]
        and host["ReadonlyRootfs"]
        and not host["Privileged"]
        and host["IpcMode"] == "private"
    )
    assert host["RestartPolicy"]["Name"] in ("", "no") and host["SecurityOpt"] == ["no-new-privileges"]
    key = (box.folder / "api_key").read_text().strip()
    assert key not in json.dumps(about)
    assert all(key not in (Path("/proc") / pid / "cmdline").read_text(errors="replace") for pid in running())
    box.service(state="stopped")
    assert box.containers() == [] and box.ask(wait=0)["failed"]


def running() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and (Path("/proc") / name / "cmdline").exists()]


def answers_again(box: Box, old: str) -> None:
    """With another container than `old`, and with one alone."""
    until(lambda: [x for x in box.containers() if x.id != old and x.status == "running"], 40)
    assert not box.ask()["failed"]
    assert len(box.containers()) == 1


@needs_engine
@pytest.mark.parametrize("how", ["engine", "client", "removed", "restarted"])
def test_whatever_ends_it_it_comes_back_once(box: Box, how: str) -> None:
    """The engine is killed in its container, the client on the host, the container is removed or restarted by someone."""
    box.service()
    assert not box.ask()["failed"]
    [container] = box.containers()
    if how == "engine":
        container.kill()
    elif how == "removed":
        container.remove(force=True)
    elif how == "restarted":
        container.restart(timeout=1)  # Docker keeps it, and the client stays with it
        until(lambda: not box.ask()["failed"])
        assert [x.id for x in box.containers()] == [container.id]
        return
    else:
        run = releases.running_release(str(box.root), "demo")
        assert run
        [client] = Path(f"/proc/{run['pid']}/task/{run['pid']}/children").read_text().split()
        os.kill(int(client), signal.SIGKILL)
    answers_again(box, container.id)


@needs_engine
def test_a_container_that_an_earlier_run_left_is_no_obstacle(box: Box) -> None:
    box.service()
    assert not box.ask()["failed"]
    run = releases.running_release(str(box.root), "demo")
    assert run
    [container] = box.containers()
    os.kill(run["pid"], signal.SIGKILL)  # foreground.py itself
    answers_again(box, container.id)


@needs_engine
def test_a_container_that_does_not_end_in_its_time_is_killed(box: Box) -> None:
    box.service("deaf")
    assert not box.ask()["failed"]
    began = time.monotonic()
    box.service("deaf", state="stopped")
    assert 3 + 5 <= time.monotonic() - began < 25 and box.containers() == []


@needs_engine
def test_an_engine_that_ends_at_once_is_a_failure_with_its_last_words(box: Box) -> None:
    began = time.time()
    box.service("crash")
    base = {"serving_root": str(box.root), "names": ["demo"], "supervisor": "supervisord", "timeout": 5}
    result = box.run("endpoint_probe", {**base, "wait": 60, "since": began})
    assert result["failed"] and "its process ended with code 2" in result["msg"]
    assert "has no option engine_args.no_such_option" in result["msg"]
