"""A site of one's own beside a read-only product: made, planned, deployed, upgraded, uninstalled; inventories of all kinds."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import DEMO, FIXTURES, load
from ports import free_port
from services import members
from site_of_tests import Fleet, tree

from planning import site as places

BOARD = "boards:\n  desk:\n    vendor: cpu\n    engine_args: {kv_cache_memory_bytes: 268_435_456}\n"
HOST = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    base = tmp_path_factory.mktemp("fleet")
    found = Fleet(base)
    found.make()
    return found


@pytest.fixture(scope="module")
def running(fleet: Fleet, tools: Path) -> Iterator[Any]:
    """An own model from a folder, an own service, an own board, an own group; a stand-in engine."""
    root, port = fleet.home / "srv", free_port()
    root.mkdir()
    (root / "tools").symlink_to(tools)
    shutil.copytree(DEMO, fleet.home / "models/mine")
    stub = shutil.copy(FIXTURES / "stub_engine.py", fleet.home / "stub_engine.py")
    shutil.copy(FIXTURES / "stub_model.py", fleet.home / "stub_model.py")
    engine = f'#!/bin/sh\nexec {sys.executable} {stub} good "$(sed -n \'s/^port: //p\' "$3")"\n'
    fleet.write("env/bin/vllm", engine, 0o755)
    inventory = "fleet/inventory/group_vars/all"
    fleet.write(f"{inventory}/boards.yml", BOARD)
    model = {
        "sources": {"directory": {"path": str(fleet.home / "models/mine")}}, "bytes": 2_911_000, "license": "apache-2.0",
        "check": {"prompt": "What is 127 + 45?", "expect": "172"},
    }  # fmt: skip
    fleet.write(f"{inventory}/models.yml", yaml.safe_dump({"models": {"mine": model}}))
    service = {
        "model": "mine", "port": port, "engine_args": {"max_model_len": 512}, "native_env": str(fleet.home / "env"),
        "drain_timeout": 2, "ready_timeout": 60, "restart_limit": 1, "served_name": "demo",
    }  # fmt: skip
    fleet.write(f"{inventory}/services.yml", yaml.safe_dump({"services": {"my-sums": service}}))
    host = {**HOST, "serving_root": str(root), "supervisor": "supervisord", "runs": ["my-sums"], "probe_timeout": 5}
    groups = {"accelerators": {"children": {"back_office": {"vars": {"board": "desk"}, "hosts": {"desk-1": host}}}}}
    fleet.write(
        "fleet/inventory/hosts.yml",
        yaml.safe_dump({**groups, "web": {"hosts": {"web-1": {"ansible_host": "192.0.2.9"}}}}),
    )
    yield fleet
    owner = Supervisord(str(root))
    owner.stop("my-sums")
    owner.shutdown()
    for pid in members(root / "services/my-sums"):
        os.kill(pid, 9)


@pytest.mark.slow
def test_from_an_empty_folder_to_an_answer_and_back_with_a_read_only_product(running: Fleet) -> None:
    seen = running.home / "validate.json"
    told = running.play("playbooks/validate.yml", extra={"validate_json": str(seen)})
    assert "desk-1 my-sums mine desk vllm native" in told and "web-1" not in told
    found = json.loads(seen.read_text())
    assert found["ok"] and found["hosts"]["desk-1"]["services"][0]["board"] == "desk"
    skipped = ("--skip-tags", "prepare")  # the engine is a stand-in
    assert "my-sums is ready at" in running.play("deploy.yml", "-l", "back_office", *skipped)
    assert "my-sums ready mine" in running.play("playbooks/status.yml")
    longer = {"overrides": {"my-sums": {"engine_args": {"max_model_len": 256}}}}
    assert "my-sums is ready at" in running.play("playbooks/upgrade.yml", extra=longer)
    assert "my-sums is ready at" in running.play("playbooks/maintenance.yml", "-l", "desk-1", *skipped)
    assert "service 'my-sums' removed" in running.play(
        "playbooks/uninstall.yml", "-l", "desk-1", extra={"service": "my-sums"}
    )
    assert (running.folder / "reports/desk-1/report.html").is_file()
    assert tree(running.product) == running.before
    assert not (running.home / "srv/services/my-sums").exists()


def test_a_site_is_made_once_and_what_is_the_operators_stays(fleet: Fleet) -> None:
    mine = fleet.folder / "README.md"
    mine.write_text("ours\n")
    (fleet.folder / "deploy.yml").unlink()
    assert fleet.make().stdout.splitlines()[0] == "made deploy.yml"
    assert "is whole already" in fleet.make().stdout and mine.read_text() == "ours\n"
    script = str(fleet.product / "scripts/make_site.py")
    inside = fleet.call(sys.executable, script, str(fleet.product / "x"), ok=False)
    assert "lies inside the product" in inside.stderr
    refused = fleet.call(sys.executable, script, "/proc/fleet", ok=False)
    assert "can't be made" in refused.stderr and len(refused.stderr.splitlines()) == 1


FORMS = {
    "hosts.ini": (
        "[accelerators:children]\nfleet\n[fleet]\none board=local\ntwo board='{\"name\": \"h100-sxm\", \"count\": 2}'\n"
        "[fleet:vars]\nruns=[\"demo\"]\nansible_connection=local\n[web]\nother\n"
    ),
    "hosts.yaml": "accelerators: {children: {fleet: {vars: {runs: [demo]}, hosts: {one: {board: local}, two: {board: {name: h100-sxm, count: 2}}}}}}\n"
    "web: {hosts: {other: {}}}\n",
    "hosts.sh": "#!/bin/sh\necho '"
    + json.dumps(
        {
            "accelerators": {"children": ["fleet"]},
            "fleet": {"hosts": ["one", "two"], "vars": {"runs": ["demo"]}},
            "web": {"hosts": ["other"]},
            "_meta": {"hostvars": {"one": {"board": "local"}, "two": {"board": {"name": "h100-sxm", "count": 2}}}},
        }
    )
    + "'\n",
}  # fmt: skip


@pytest.fixture
def second(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Another site of the same product and user."""
    fleet.folder, before = fleet.home / f"site-{tmp_path_factory.mktemp('n').name}", fleet.folder
    fleet.make()
    yield fleet
    fleet.folder = before


@pytest.mark.slow
def test_inventories_of_all_forms_plan_the_same_and_leave_others_alone(second: Fleet) -> None:
    site = second.folder.name
    second.write(f"{site}/inventory/group_vars/all/settings.yml", "weights_connections: 4\n")
    for name, text in FORMS.items():
        path = second.write(f"{site}/inventory/{name}", text, 0o755 if name.endswith(".sh") else 0o644)
        told = second.play("playbooks/validate.yml", "-i", str(path))
        assert "one demo demo local vllm native all" in told and "two demo demo h100-sxm vllm container 0" in told, name
        assert "other" not in told
    # Two inventories: what the first one's group_vars say is not undone by the product's defaults.
    more = second.write(
        f"{site}/more/hosts.ini", "[accelerators:children]\nspare\n[spare]\nthree board=l40s runs='[\"demo\"]'\n"
    )
    shown = second.play("playbooks/validate.yml", "-i", f"{second.folder}/inventory/hosts.ini", "-i", str(more))
    assert "three demo demo l40s" in shown and "one demo demo local" in shown
    asked = (
        "ansible",
        "-i",
        f"{second.folder}/inventory/hosts.ini",
        "-i",
        str(more),
        "all",
        "-m",
        "ansible.builtin.debug",
        "-a",
        "var=weights_connections",
    )
    assert second.call(*asked).stdout.count('"weights_connections": 4' if False else "weights_connections: 4") == 4
    assert tree(second.product) == second.before


@pytest.mark.slow
def test_what_a_site_forgets_or_calls_by_an_old_name_is_a_sentence(second: Fleet) -> None:
    site = second.folder.name
    hosts = f"{site}/inventory/hosts.yml"

    second.write(
        hosts,
        "accelerators: {hosts: {one: {runs: [demo]}, two: {board: local, accelerator: {hardware: h100}}, "
        "three: {board: local, runs: [demo], overrides: {demo: {hardware: h100}}}}}\n",
    )
    told = second.play("playbooks/validate.yml", ok=False)
    assert "host one says no board; write board: NAME" in told
    assert "the setting 'accelerator' is gone; write board: NAME" in told
    assert "key 'hardware' is gone; write the boards" in told
    second.write(hosts, "accelerators: {hosts: {one: {board: local, runs: [demo]}}}\n")
    settings = f"{site}/inventory/group_vars/all/settings.yml"
    second.write(settings, "product_versions: '>=7,<8'\n")
    for name in ("playbooks/validate.yml", "deploy.yml", "playbooks/status.yml"):
        told = second.play(name, ok=False)
        assert (
            told.count("the site's settings want >=7,<8 (product_versions)") == 1
            and "TASK [Ask the services]" not in told
        )
    second.write(settings, "product_versions: seven\n")
    assert "product_versions is 'seven', but must be a range" in second.play("playbooks/validate.yml", ok=False)


@pytest.mark.slow
def test_rows_of_a_site_change_add_and_remove_rows_and_say_so(second: Fleet) -> None:
    site = second.folder.name
    second.write(f"{site}/inventory/hosts.yml", "accelerators: {hosts: {one: {board: local, runs: [demo, mine]}}}\n")
    rows = {"demo": {"engine_args": {"max-model-len": 256}}, "mine": {"model": "demo", "port": 8100}, "qwq-32b": None}
    second.write(f"{site}/inventory/group_vars/all/services.yml", yaml.safe_dump({"services": rows}))
    told = second.play("playbooks/validate.yml", "-e", "explain=true")
    assert "demo engine_args.max_model_len 256 site: service demo" in told
    assert "demo engine_args.max_num_seqs 32 catalogue: service demo" in told
    assert "mine env.OMP_NUM_THREADS 2 catalogue: board local" in told
    told = second.play("playbooks/validate.yml", "-e", '{"runs": ["qwq-32b"]}', ok=False)
    assert "service 'qwq-32b' is not in services.yml; did you mean 'qwq-32b-atlas'?" in told


@pytest.mark.slow
def test_a_vault_is_read_with_its_password_and_one_sentence_without(second: Fleet) -> None:
    site = second.folder.name
    second.write(f"{site}/inventory/hosts.yml", "accelerators: {hosts: {one: {board: local, runs: [demo]}}}\n")
    password = second.write("password", "hunter2\n")
    said = second.call(
        "ansible-vault", "encrypt_string", "--vault-password-file", str(password), "a-secret-of-ours", "--name", "TOKEN"
    )
    vaulted = "".join(f"        {line}\n" for line in said.stdout.splitlines())
    second.write(f"{site}/inventory/group_vars/all/overrides.yml", f"overrides:\n  demo:\n    secret_env:\n{vaulted}")
    told = second.play("playbooks/validate.yml", "-e", "explain=true", "--vault-password-file", str(password))
    assert "(secret)" in told and "a-secret-of-ours" not in told
    keys = "".join(f"  {line}\n" for line in said.stdout.replace("TOKEN", "demo").splitlines())
    for text in (f"overrides:\n  demo:\n    secret_env:\n{vaulted}", f"api_keys:\n{keys}"):
        second.write(f"{site}/inventory/group_vars/all/overrides.yml", text)
        without = second.call("ansible-playbook", "playbooks/validate.yml", ok=False)
        lines = [line for line in (without.stdout + without.stderr).splitlines() if "vault" in line.lower()]
        assert len(lines) == 1 and "give its password: --ask-vault-pass" in lines[0], without.stdout + without.stderr


def test_a_site_may_lie_in_another_folder_than_its_configuration(fleet: Fleet) -> None:
    product = load("vars_plugins/product.py")
    assert str(product.site_of("/srv/ops/inventory")) == "/srv/ops"
    assert str(product.site_of("/srv/ops/hosts")) == "/srv/ops/hosts"


def test_which_file_holds_a_table(tmp_path: Path) -> None:
    every = tmp_path / "group_vars/all"
    assert places.table_file(str(tmp_path), "models") == str(every / "models.yml")
    every.mkdir(parents=True)
    (every / "ours.yml").write_text("models: {}\n")
    (every / "vault.yml").write_text("secret: !vault |\n  $ANSIBLE_VAULT\n")
    assert places.table_file(str(tmp_path), "models") == str(every / "ours.yml")
    (tmp_path / "group_vars/all.yml").write_text("services: {}\n")
    assert places.table_file(str(tmp_path), "services") == str(tmp_path / "group_vars/all.yml")


@pytest.mark.parametrize(
    ("version", "wanted", "words"),
    [
        ("0.2.1", "", ""),
        ("0.2.1", ">=0.2,<0.3", ""),
        ("0.3.0", ">=0.2,<0.3", "want >=0.2,<0.3"),
        ("0.2.1", "x", "must be a range"),
    ],
)
def test_the_range_of_versions(version: str, wanted: str, words: str) -> None:
    said = places.version_problem(version, wanted)
    assert words in said and bool(said) is bool(words)
    assert load("scripts/make_site.py").versions("0.2.3") == ">=0.2,<0.3"
    assert load("scripts/make_site.py").versions("1.4.0") == ">=1.4,<2"
