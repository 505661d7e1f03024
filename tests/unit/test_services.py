"""A service from release to removal: the real supervisord, the real foreground.py, a stub where vLLM would be."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service import named, releases
from ansible.module_utils.serving.service.supervisors import Supervisord
from services import Host, Result, host_fixture, lent_tools, members, small_disk, until
from test_fit import row as fit_row

host = pytest.fixture(host_fixture)


def test_first_start_answers_second_changes_nothing(host: Host) -> None:
    first = host.service()
    assert first["changed"], first
    assert "the service is not deployed yet" in first["reasons"]
    ready = host.ask(wait=20)
    row = ready["services"][0]
    assert row["ready"] and row["answer"] == "172"
    assert row["timings"]["first_token_seconds"] is not None
    pid = row["pid"]
    second = host.service()
    assert not second["changed"] and second["reasons"] == []
    assert host.ask()["services"][0]["pid"] == pid
    assert host.ask()["services"][0]["timings"]["ready_seconds"] == row["timings"]["ready_seconds"]


def test_check_mode_writes_nothing_and_says_what_would_be(host: Host) -> None:
    result = host.service(dry=True)
    assert result["changed"] and "it does not run" in result["reasons"]
    assert not (host.root / "services").exists()
    host.service()
    before = host.process()
    result = host.service("slow", dry=True)
    assert result["changed"] and "other content of start" in result["reasons"]
    assert "-exec" in result["diff"]["prepared"] and "+exec" in result["diff"]["prepared"]
    assert host.process() == before
    assert not host.service(dry=True)["changed"]


def test_a_changed_row_replaces_the_process_and_says_why(host: Host) -> None:
    old = host.service()["release"]
    result = host.service(drain_timeout=3)
    assert "drain_timeout: 2 -> 3" in result["reasons"]
    assert result["release"] != old
    assert os.readlink(host.folder / "previous") == f"releases/{old}"
    assert host.process()["release"] == result["release"]


def test_killed_between_swap_and_restart_the_next_run_restarts(host: Host) -> None:
    host.service()
    spec = releases.read_spec(str(host.folder / "current"))
    files = {"start": (host.folder / "current/start").read_text() + "# new\n"}
    number, _ = releases.write_release(str(host.folder), spec, files)
    releases.make_current(str(host.folder), number)  # and here the run was killed
    result = host.service(None)
    assert result["changed"] and any("it runs release" in reason for reason in result["reasons"])
    assert host.process()["release"] == number


def test_a_half_written_release_is_never_current(host: Host) -> None:
    first = host.service()["release"]
    folder = host.folder / "releases" / first
    (folder / "spec.json").write_text("{")  # the disk lost the end of a file
    result = host.service()
    assert result["changed"]
    assert json.loads((folder / "spec.json").read_text())["endpoint"]
    assert host.ask(wait=20)["services"][0]["ready"]


@pytest.mark.parametrize("victim", ["engine", "runner", "both"])
def test_kill_9_comes_back_and_leaves_nothing(host: Host, victim: str) -> None:
    host.service("stubborn")
    host.ask(wait=20)
    before = members(host.folder)
    runner = host.process()["pid"]
    engine = next(p for p in before if b"stub_engine" in Path(f"/proc/{p}/cmdline").read_bytes())
    assert len(before) == 3
    for pid in {"engine": [engine], "runner": [runner], "both": [runner, engine]}[victim]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: (now := host.process()) and now["pid"] != runner)
    assert host.ask(wait=20)["services"][0]["ready"]
    assert not set(before) & set(members(host.folder))
    assert len(members(host.folder)) == 3


def test_stop_leaves_no_process_and_start_brings_it_back(host: Host) -> None:
    host.service("stubborn")
    host.ask(wait=20)
    assert host.service(None, state="stopped")["changed"]
    assert members(host.folder) == []
    assert not host.service(None, state="stopped")["changed"]
    row = host.ask(required=False)["services"][0]
    assert row["state"] == "stopped" and not row["ready"]
    assert host.service(None, state="started")["changed"]
    assert host.ask(wait=20)["services"][0]["ready"]
    pid = host.process()["pid"]
    assert host.service(None, state="restarted")["reasons"] == ["a restart was asked for"]
    assert host.process()["pid"] != pid


THERE, ROWS = ["web-1", "demo-10", "demo-2", "demo-1", "solo"], ["demo", "solo", "web", "web-1"]


@pytest.mark.parametrize(
    ("wanted", "every", "found"),
    [
        ("solo", None, ["solo"]),
        ("demo-2", None, ["demo-2"]),
        ("demo", None, ["demo-1", "demo-2", "demo-10"]),
        ("all", ["solo", "demo-1"], ["solo", "demo-1"]),
        ("all", [], []),
        ("demo-1", THERE, ["demo-1"]),
    ],
)
def test_a_name_means_that_service_or_the_replicas_of_its_row(
    wanted: str, every: list[str] | None, found: list[str]
) -> None:
    assert named.named(wanted, THERE, ROWS, every) == found


@pytest.mark.parametrize(
    ("wanted", "every", "words"),
    [
        ("", None, r"^say which service: -e service=NAME; this host has web-1, demo-10, demo-2, demo-1, solo$"),
        ("", [], r"^say which service: -e service=NAME or service=all; "),
        ("all", None, r"^say which service: -e service=NAME; "),
        ("web", None, r"^no service of this host is called 'web'; "),  # web-1 is a row of its own
        ("dem", None, r"^no service of this host is called 'dem'; "),
        ("demo-", None, r"^no service of this host is called 'demo-'; "),
    ],
)
def test_a_name_that_means_none_is_refused(wanted: str, every: list[str] | None, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        named.named(wanted, THERE, ROWS, every)


def test_a_service_that_left_the_plan_is_named_with_what_ends_it(host: Host, run_module: Callable[..., Result]) -> None:
    def look(*runs: str, **wanted: Any) -> Result:
        given = {"serving_root": str(host.root), "runs": list(runs), "host": "box", **wanted}
        return run_module("services_info", given)

    assert look("demo")["services"] == [] == look()["beside"]
    release = host.service()["release"]
    host.ask(wait=20)
    [row] = look("demo")["services"]
    assert row == {"service": "demo", "endpoint": f"http://127.0.0.1:{host.port}", "release": release, "running": True,
                   "planned": True}  # fmt: skip
    assert look("demo")["beside"] == []
    assert look("new-1", "new-2", wanted="new")["meant"] == ["new-1", "new-2"]  # also before their first start
    assert look("new", wanted="all", every="deployed")["meant"] == ["demo"]
    assert "means new-1, new-2, and this works on one" in look("new-1", "new-2", wanted="new", single=True)["msg"]
    assert look("new", wanted="demo", single=True)["meant"] == ["demo"]
    assert "this host has new" in look("new", wanted="demo", planned=True)["msg"]
    assert look(wanted="gone", required=False)["meant"] == ["gone"] and look(wanted="gone")["failed"]
    [words] = look("other")["beside"]
    assert words.startswith(
        f"service 'demo' is not in runs of host box and still runs at http://127.0.0.1:{host.port}; it is left alone."
    )
    assert "playbooks/stop.yml -l box -e service=demo stops it" in words
    assert "playbooks/uninstall.yml -l box -e service=demo removes it" in words
    # Its row has replicas now. A service of another row is none.
    [words] = look("demo-1", "demo-2", "demo-3", rows=["demo", "demo-3"])["beside"]
    assert words.startswith(
        "service 'demo' is demo-1, demo-2 in runs of host box now, and by its own name still runs at"
    )
    assert "playbooks/stop.yml -l box -e service=demo stops it" in words
    assert "is not in runs" in look("demo-3", rows=["demo", "demo-3"])["beside"][0]
    # Where something doesn't fit, preflight names it too: it may hold what is missing.
    record = {"kind": "cpu", "arch": "x86_64", "problems": ["no AVX2"],
              "memory": {"total_bytes": 0, "available_bytes": 0, "limit_bytes": 0}}  # fmt: skip
    fit = {"plan": [], "record": record, "serving_root": str(host.root), "models_root": str(host.root / "models")}
    assert "service 'demo' is not in runs" in run_module("fit", fit)["msg"]
    twice = [fit_row(port, service=f"demo-{port}", replica_of="demo", host="box") for port in (1, 2)]
    assert (
        "service 'demo' is demo-1, demo-2 in runs of host box now" in run_module("fit", {**fit, "plan": twice})["msg"]
    )
    host.service(None, state="stopped")
    assert (
        "does not run, but is still deployed; it is left alone. If it is not wanted any more: playbooks/uninstall.yml"
        in look("other")["beside"][0]
    )
    (host.folder / "current/spec.json").write_text("{")  # even what can't be read is not passed over
    assert look("other")["services"][0]["endpoint"] is None and look("other")["beside"]


def test_an_engine_that_does_not_end_in_its_time_is_killed(host: Host) -> None:
    host.service("deaf")
    host.ask(wait=20)
    began = time.monotonic()
    assert host.service(None, state="stopped")["changed"]
    assert 2 + 5 <= time.monotonic() - began < 20  # drain_timeout and OVERDUE; supervisord itself would wait 32 s
    assert members(host.folder) == []
    assert "still runs 5 s after the 2 s that requests get: killing it" in (host.root / "logs/demo.log").read_text()


def test_exit_code_0_is_restarted_too_and_the_limit_holds(host: Host) -> None:
    host.service("zero")
    owner = Supervisord(str(host.root))
    until(lambda: owner.state("demo") == "failed", 30)
    log = (host.root / "logs/demo.log").read_text()
    assert log.count("the engine ended with code 0") == 3  # one start and two more
    result = host.ask(wait=5)
    assert result["failed"] and "gave up after repeated failed starts" in result["msg"]


def test_a_crash_ends_the_wait_with_last_lines_and_meaning(host: Host) -> None:
    began = time.time()
    host.service("crash")
    result = host.ask(wait=60, since=began)
    assert result["failed"]
    assert time.time() - began < 40
    assert "its process ended with code 2" in result["msg"] or "gave up" in result["msg"]
    assert "unrecognized arguments: --no-such-option" in result["msg"]
    assert "this release of the engine has no option engine_args.no_such_option" in result["msg"]
    assert "demo.log" in result["msg"]


START, END = "foreground: starting release ", "foreground: the engine ended with code "


@pytest.mark.parametrize(
    ("log", "want"),
    [
        ([START + "a", "old error", END + "0 after 9 s", START + "b", "usage"], [START + "b", "usage"]),
        (
            [START + "a", "why", END + "1 after 9 s", START + "a"],
            [START + "a", "why", END + "1 after 9 s", START + "a"],
        ),
        (
            [START + "a", "old", END + "1 after 9 s", START + "a", "new", END + "1 after 9 s"],
            [START + "a", "new", END + "1 after 9 s"],
        ),
        (["cut off", "by rotation"], ["cut off", "by rotation"]),
    ],
    ids=["other release", "being restarted", "ended again", "no start in sight"],
)
def test_only_the_newest_run_explains_a_failure(log: list[str], want: list[str]) -> None:
    assert releases.last_run(log) == want


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("liar", "HTTP 500"),
        ("hangs", "no token within 5 s"),
        ("cut", "the stream was cut"),
        ("garbage", "over and over"),
        ("wrong", "lists other, not 'demo'"),
    ],
)
def test_health_alone_is_not_believed(host: Host, mode: str, words: str) -> None:
    host.service(mode)
    result = host.ask(wait=8)
    assert result["failed"] and words in result["msg"], result["msg"]
    assert "service 'demo' is not ready after" in result["msg"]


def test_an_engine_that_dies_at_its_first_token_is_a_failure(host: Host) -> None:
    began = time.time()
    host.service("dies")
    result = host.ask(wait=30, since=began)
    assert result["failed"]
    assert "head size" in result["msg"]


def test_a_wrong_answer_is_a_failure(host: Host) -> None:
    host.service("good", check={"prompt": "What is 1 + 1?", "expect": "3"})
    result = host.ask(wait=6)
    assert result["failed"] and "expected '3' in the answer, got '2'" in result["msg"]


def test_absent_removes_everything_of_the_service_and_nothing_else(host: Host) -> None:
    host.service()
    host.ask(wait=20)
    stranger = host.root / "services" / "notes.txt"
    stranger.write_text("mine")
    assert host.service(None, state="absent", dry=True)["changed"]
    assert host.ask()["services"][0]["ready"]
    assert host.service(None, state="absent")["changed"]
    assert not host.folder.exists() and members(host.folder) == []
    assert not list((host.root / "logs").iterdir())
    assert stranger.read_text() == "mine"
    assert not host.service(None, state="absent")["changed"]
    assert not Supervisord(str(host.root)).alive()


def test_prune_removes_what_no_service_names(host: Host, run_module: Callable[..., Result]) -> None:
    models = host.root / "models"
    for name in ("demo@1", "old@2"):
        (models / name).mkdir(parents=True)
    (models / "mine").mkdir()
    for env in ("used", "unused"):
        (host.root / "envs" / env).mkdir(parents=True)
    host.service(model={"name": "demo", "path": str(models / "demo@1")}, env_path=str(host.root / "envs/used"))
    args = {"serving_root": str(host.root), "models_root": str(models)}
    result = run_module("serving_prune", args)
    assert sorted(map(os.path.basename, result["removed"])) == ["old@2", "unused"]
    assert (models / "mine").exists() and (models / "demo@1").exists()
    assert not run_module("serving_prune", args)["changed"]
    host.service(None, state="absent")
    (host.root / "archives").mkdir()  # a relay of images that was killed
    kept = run_module("serving_prune", {**args, "keep_models": True})
    assert kept["kept"] and (models / "demo@1").exists() and not (host.root / "archives").exists()
    run_module("serving_prune", args)
    assert not (models / "demo@1").exists() and (models / "mine").exists()


def test_models_outside_the_serving_root_are_never_removed(tmp_path: Path, run_module: Callable[..., Result]) -> None:
    shared = tmp_path / "nfs"
    (shared / "demo@1").mkdir(parents=True)
    result = run_module("serving_prune", {"serving_root": str(tmp_path / "root"), "models_root": str(shared)})
    assert not result["changed"] and "not inside" in result["kept"][0]
    assert (shared / "demo@1").exists()


def test_unknown_service_is_refused_with_what_to_do(host: Host) -> None:
    result = host.service(None)
    assert result["failed"] and "run deploy.yml" in result["msg"]
    row = host.ask(required=False)["services"][0]
    assert row["state"] == "absent" and "run deploy.yml" in row["problem"]


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 64])
def test_names_that_would_leave_the_folder_are_refused(
    tmp_path: Path, run_module: Callable[..., Result], name: str
) -> None:
    result = run_module("inference_service", {"name": name, "serving_root": str(tmp_path), "state": "absent"})
    assert result["failed"] and "may have letters" in result["msg"]


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path, run_module: Callable[..., Result]) -> None:
    root = tmp_path / ("x" * 120)
    result = run_module(
        "inference_service",
        {"name": "demo", "serving_root": str(root), "state": "stopped", "supervisor": "supervisord"},
    )
    assert result["failed"] and "limit is 100" in result["msg"]


def test_the_log_can_be_read_and_is_named(host: Host, run_module: Callable[..., Result]) -> None:
    host.service()
    host.ask(wait=20)
    result = run_module("service_log", {"name": "demo", "serving_root": str(host.root), "supervisor": "supervisord"})
    assert "Application startup complete." in result["lines"]
    assert result["log"] == str(host.root / "logs/demo.log")
    missing = run_module("service_log", {"name": "dem", "serving_root": str(host.root), "supervisor": "supervisord"})
    assert missing["failed"] and "deployed: demo" in missing["msg"]


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_ends_nothing_that_serves_and_can_be_made_room_on(
    tmp_path: Path, tools: Path, run_module: Callable[..., Result]
) -> None:
    with small_disk(tmp_path) as fill, lent_tools(tmp_path, tools, "demo"):
        host = Host(tmp_path, run_module)
        host.service()
        pid, key = host.ask(wait=20)["services"][0]["pid"], (host.folder / "api_key").read_text()
        fill()
        assert "is left as it is: the disk of" in host.service(None, state="restarted")["msg"]
        for refused in (host.service("slow"), host.run("api_key", {"name": "demo", "serving_root": str(tmp_path)})):
            assert (
                "No space left on device" in refused["msg"]
                and str(host.folder) in refused["msg"]
                and "make room" in refused["msg"]
            )
        assert host.ask()["services"][0]["pid"] == pid and (host.folder / "api_key").read_text() == key
        (tmp_path / "ballast").unlink()
        assert host.service("slow")["changed"] and host.ask(wait=20)["services"][0]["ready"]
        assert not list(host.folder.rglob("*.part*"))
        fill()
        assert host.service(None, state="stopped")["changed"] and host.service(None, state="absent")["changed"]
        assert not host.folder.exists()
