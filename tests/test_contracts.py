"""What every part of the project promises: documented, typed arguments, check mode, names that can be found."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from conftest import ROOT, ansible_environment, load

MODULES = sorted(p.stem for p in (ROOT / "library").glob("*.py"))
ROLES = sorted(p.name for p in (ROOT / "roles").iterdir() if p.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# Those that others import and nobody calls.
PARTS = [p.name for p in PLAYBOOKS if p.read_text().startswith("---\n# A part of ")]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
TEXT = [
    p
    for p in TRACKED
    if Path(p).suffix in {".py", ".yml", ".md", ".j2", ".toml", ".cfg", ".lock", ""} and (ROOT / p).is_file()
]


class Spec(Exception):
    pass


def argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The argument_spec and options that a module hands to AnsibleModule."""

    def keep(self: Any, spec: dict[str, Any], **options: Any) -> None:
        raise Spec(spec, options)

    monkeypatch.setattr(basic.AnsibleModule, "__init__", keep)
    with patch_module_args({}), pytest.raises(Spec) as seen:
        load(f"library/{name}.py").main()
    spec, options = seen.value.args
    assert options.get("supports_check_mode") is True
    return dict(spec)


@pytest.mark.parametrize("name", MODULES)
def test_a_modules_documentation_says_what_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(f"library/{name}.py")
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert documentation["module"] == name
    assert {"short_description", "options", "attributes"} <= set(documentation)
    assert documentation["attributes"]["check_mode"]["support"] == "full"
    spec = argument_spec(name, monkeypatch)
    assert set(documentation["options"]) == set(spec)
    for option, row in spec.items():
        words = documentation["options"][option]
        assert words["description"] and words["type"] == row["type"], option
        assert words.get("required", False) == row.get("required", False), option
        assert words.get("default") == row.get("default"), option
        assert words.get("choices") == row.get("choices"), option
        assert words.get("elements") == row.get("elements"), option
        if any(part in option for part in ("key", "token", "password", "secret")):
            assert row.get("no_log") is True, option


@pytest.mark.parametrize("name", MODULES)
def test_a_modules_examples_and_returns_are_yaml(name: str) -> None:
    module = load(f"library/{name}.py")
    examples = yaml.safe_load(module.EXAMPLES)
    assert all(
        task["name"] and set(task[name]) <= set(yaml.safe_load(module.DOCUMENTATION)["options"]) for task in examples
    )
    for key, row in yaml.safe_load(module.RETURN).items():
        assert row["description"] and row["type"] and row["returned"], key


def test_ansible_doc_reads_every_module() -> None:
    done = subprocess.run(
        ["ansible-doc", "-t", "module", *MODULES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    for name in MODULES:
        assert name in done.stdout


PHASE = "{{ phase_hosts | default('accelerators') }}"  # what move.yml narrows to its two hosts


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda p: p.stem)
def test_playbooks_only_sequence(path: Path) -> None:
    text = path.read_text()
    plays = yaml.safe_load(text)
    assert "set_fact" not in text and "shell:" not in text
    for play in plays:
        assert play["name"]
        assert (
            "ansible.builtin.import_playbook" in play
            or play["hosts"] in ("accelerators", PHASE)
            or path.stem in ("hosts", "balance", "move", "status", "monitoring")
        )
        # `-l h100` silently skips a play on localhost: controller work is delegated instead
        assert play.get("gather_facts", False) is False


def test_every_playbook_that_a_person_starts_looks_for_hosts_first() -> None:
    """A play without hosts is skipped in silence, and the run called a success."""
    for path in PLAYBOOKS:
        if path.name not in PARTS:
            first = yaml.safe_load(path.read_text())[0].get("ansible.builtin.import_playbook")
            assert first in ("hosts.yml", "check_plan.yml"), path
    assert re.findall(r"import_playbook: (\S+)", (ROOT / "playbooks/check_plan.yml").read_text()) == ["hosts.yml"]


def test_parts_of_playbooks_say_that_they_are() -> None:
    """What others import and nobody calls begins with «A part of»; every other one says how it is called."""
    imported = {name for p in PLAYBOOKS for name in re.findall(r"import_playbook: (\S+)", p.read_text())}
    assert set(PARTS) <= imported
    for path in PLAYBOOKS:
        head = path.read_text().removeprefix("---\n").split("\n- ")[0]
        assert head.startswith("# ") and ("ansible-playbook " in head) != (path.name in PARTS), path
    for page in [
        p for p in TRACKED if p.endswith(".md") and p != "CONTRIBUTING.md" and not p.startswith("docs/releases")
    ]:
        called = re.findall(r"ansible-playbook playbooks/(\w+\.yml)", (ROOT / page).read_text())
        assert not set(called) & set(PARTS), page


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, so that its rights can be changed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("action_plugins", "callback_plugins", "catalogue", "fetching", "filter_plugins", "inventory", "judging", "library", "lookup_plugins",
                 "module_utils", "planning", "playbooks", "references", "reporting", "roles", "templates", "vars_plugins"):  # fmt: skip
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("ansible.cfg", "deploy.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def ansible(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in ansible_environment().items() if k != "ANSIBLE_CONFIG"}
    return subprocess.run(
        ["ansible-playbook", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("deploy.yml", "another folder"),
        ("playbooks/validate.yml", "a folder that all may write"),
        ("playbooks/status.yml", "an empty inventory"),
        ("playbooks/uninstall.yml", "none of ours"),
        ("playbooks/serve.yml", "-l typo"),
    ],
)
def test_no_host_is_a_failure_that_says_why(checkout: Path, tmp_path: Path, name: str, fault: str) -> None:
    """All of this is hosts.yml's, with which every playbook begins."""
    folder, words, sentence = checkout, [str(checkout / name)], "the inventory has no host in the group accelerators"
    checkout.chmod(0o777 if "all may write" in fault else 0o755)
    if fault == "another folder":
        folder = tmp_path
    elif fault == "an empty inventory":
        (tmp_path / "hosts.yml").write_text("accelerators: {hosts: {}}\n")
        words += ["-i", str(tmp_path / "hosts.yml")]
    elif fault == "none of ours":
        (tmp_path / "hosts.yml").write_text("accelerators: {hosts: {a: {}}}\nweb: {hosts: {b: {}}}\n")
        words, sentence = (
            [*words, "-i", str(tmp_path / "hosts.yml"), "-l", "b"],
            "--limit b leaves no host of the group accelerators",
        )
    elif fault == "-l typo":
        words, sentence = (
            [*words, "-l", "local,gpuu-01"],
            "--limit names 'gpuu-01', which is no host or group; did you mean 'gpu-01'?",
        )
    done = ansible(folder, *words)
    assert done.returncode != 0 and sentence in done.stderr, done.stdout + done.stderr
    assert "TASK" not in done.stdout and "Skipping plugin" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["serve.yml", "stop.yml", "validate.yml"])
def test_no_playbook_runs_from_files_that_everybody_may_change(checkout: Path, name: str) -> None:
    (checkout / "library/fit.py").chmod(0o646)
    done = ansible(checkout, f"playbooks/{name}", "-l", "local", "-e", "service=demo", "--check")
    (checkout / "library/fit.py").chmod(0o644)
    assert done.returncode != 0 and "library/fit.py is writable for all (0646); run: chmod -R o-w" in done.stdout, (
        done.stdout
    )
    assert done.stdout.count("error: ") == 1 and done.stdout.count("TASK [") == 1


def switches() -> set[str]:
    """Variables that are true or false by default, or are another such one."""
    tables = [
        yaml.safe_load(p.read_text()) or {}
        for p in [*(ROOT / "inventory/group_vars").rglob("*.yml"), *(ROOT / "catalogue").glob("*.yml")]
    ]
    tables += [play.get("vars", {}) for p in PLAYBOOKS for play in yaml.safe_load(p.read_text())]
    found = {name for table in tables for name, value in table.items() if isinstance(value, bool)}
    for table in tables:
        found |= {n for n, v in table.items() if isinstance(v, str) and v.strip("{} ") in found and v.startswith("{{")}
    for role in ROLES:
        specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
        found |= {name for spec in specs.values() for name, row in spec["options"].items() if row["type"] == "bool"}
    return found


def unsafe_switches(text: str, names: set[str]) -> list[str]:
    """Lines that ask a switch without `| bool`: `-e name=false` is the text «false», which is true."""
    found = []
    asked = re.compile(rf"(?<![\w.'\"])({'|'.join(sorted(names))})\b(?!\s*:)(?![\w'\"])")
    for line in text.splitlines():
        code = (
            line.split(" #")[0]
            if not line.lstrip().startswith(("#", "- name:", "name:", "remedy:", "fail_msg:", "msg:", "else '"))
            else ""
        )
        for match in asked.finditer(code):
            rest = re.sub(r"^(\s*\|\s*default\([^)]*\))", "", code[match.end() :])
            alone = re.search(
                rf"\"{{{{ {match[1]}( \| default\([^)]*\))? }}}}\"", code
            )  # a typed module or role takes it
            if not re.match(r"\s*\|\s*bool", rest) and not alone:
                found.append(line.strip())
    return found


def test_a_switch_given_as_text_is_read_as_a_boolean() -> None:
    names = switches()
    assert {"manage_firewall", "require_pins", "weights_require_pin", "weights_keep_source", "finish", "push"} <= names
    assert unsafe_switches("when: manage_driver and x", names) and unsafe_switches("{{ a | f(upgrade_driver) }}", names)
    assert not unsafe_switches('when: manage_driver | bool\nx: "{{ allow_reboot }}"\nmanage_driver: true', names)
    for path in [
        p
        for p in TRACKED
        if p.startswith(("roles/", "playbooks/", "templates/", "catalogue/settings.yml"))
        and p.endswith((".yml", ".j2"))
    ]:
        if "argument_specs" not in path:
            assert not unsafe_switches((ROOT / path).read_text(), names), path
    main = yaml.safe_load((ROOT / "catalogue/settings.yml").read_text())
    assert set(main["plan_tables"]["switches"]) == {n for n in names if n in main}, (
        "every switch of settings.yml is checked"
    )


def test_the_top_playbook_is_a_table_of_contents() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text())
    assert [p["name"] for p in plays] == [
        "Check the plan",
        "Lock",
        "Preflight",
        "Prepare",
        "Fetch",
        "Serve",
        "Verify",
        "Judge",
        "Balance",
        "Unlock",
    ]
    for phase in ("preflight", "prepare", "fetch", "serve", "verify", "judge"):
        assert yaml.safe_load((ROOT / f"playbooks/{phase}.yml").read_text())[1]["tags"] == [phase]


def test_no_task_sets_facts_or_pipes() -> None:
    for path in [p for p in TRACKED if p.startswith(("roles/", "playbooks/")) and p.endswith(".yml")]:
        text = (ROOT / path).read_text()
        assert not re.search(r"set_fact|ansible\.builtin\.shell|hash_behaviour|\bignore_errors: yes", text), path


def test_filters_and_module_utils_share_no_code() -> None:
    """A filter that imports module_utils is skipped by Ansible with a mere warning."""
    for folder in (
        "action_plugins",
        "callback_plugins",
        "fetching",
        "filter_plugins",
        "lookup_plugins",
        "reporting",
        "vars_plugins",
    ):
        for path in (ROOT / folder).glob("*.py"):
            assert not re.search(r"module_utils[./]|import module_utils", path.read_text()), path


# Where an absolute path may begin: roots of a Linux system, of what the product installs or mounts, and of URLs in the tests.
ROOTS = {
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    "models", "cache", "config", "inputs", "outside",  # inside of containers and test hosts
    "v1", "v2", "api", "metrics", "health", "ping", "docs", "inference", "rw",  # paths of HTTP
    "inventory", "playbooks", "roles", "scripts", "templates", "molecule", "library", "planning",  # {{ playbook_dir }}/../roles/...
    "build", "report", "vllm", "flagscale",  # what templates append to a folder
    "nfs", "share", "data", "workspace",  # the vendor documents' and failure logs' own
}  # fmt: skip
ROOT_OF_PATH = re.compile(r"(?<![\w.~/:$}>)\]*\\-])/([a-z][\w.-]*)/(?=[\w.{<-])")
BELOW_OPT = re.compile(r"/opt/(?:pypi|wheels|mirror)[\w-]*")  # folders that a machine's owner makes for an index


def machine_paths(text: str) -> list[str]:
    """Absolute paths in a text that begin outside of the standard roots."""
    return [match.group() for match in ROOT_OF_PATH.finditer(text) if match[1] not in ROOTS] + BELOW_OPT.findall(text)


def test_no_file_names_a_machine_or_a_secret() -> None:
    """Nothing of the machine that it was made on: no path of its own, no index, no key."""
    assert machine_paths("see /builds/me/x and /srv/vllm/models") == ["/builds/"]
    secret = re.compile(
        r"\.\./shared|-----BEGIN [A-Z ]*PRIVATE KEY|\bsk-[A-Za-z0-9]{20}|https?://[\w.-]*mirror[\w.-]*\.(?!example|invalid)\w"
    )
    for path in [path for path in TEXT if path != "tests/test_contracts.py"]:
        text = (ROOT / path).read_text(errors="replace")
        found = secret.search(text)
        assert not found, f"{path}: {found and found.group()}"
        if not path.startswith("tests/"):  # tests feed texts of all kinds
            assert not machine_paths(text), f"{path}: {machine_paths(text)}"


def one_letter_aliases(text: str) -> list[str]:
    """Modules that a file imports under a name of one letter."""
    return [
        alias.asname
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        if alias.asname and len(alias.asname) == 1
    ]


def test_modules_are_called_by_their_names() -> None:
    assert one_letter_aliases("import os as o\nfrom a.b import c as d, e") == ["o", "d"]
    for path in [path for path in TRACKED if path.endswith(".py") and (ROOT / path).is_file()]:
        assert not one_letter_aliases((ROOT / path).read_text()), path


def test_the_locks_name_no_index() -> None:
    for path in [p for p in TRACKED if p.endswith(".lock")]:
        assert not re.search(r"https?://|file:", (ROOT / path).read_text()), path


def test_the_demo_model_is_as_promised() -> None:

    folder = ROOT / "models/demo"
    config = json.loads((folder / "config.json").read_text())
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    assert config["architectures"] == ["Qwen2ForCausalLM"] and config["torch_dtype"] == "bfloat16"
    assert heads % 8 == 0 and kv % 8 == 0 and config["hidden_size"] // heads >= 32
    assert config["max_position_embeddings"] >= 32768
    assert len(list(folder.glob("*.safetensors"))) >= 2
    assert sum(p.stat().st_size for p in folder.iterdir()) < 8_000_000
    training = json.loads((folder / "training.json").read_text())
    assert training["held_out_sums"] >= 2000 and 0.95 <= training["exact_match"] <= 0.995
    assert f"{training['exact_match'] * 100:.1f} %" in (folder / "README.md").read_text()
    shape = yaml.safe_load((ROOT / "catalogue/models.yml").read_text())["catalogue_models"]["demo"]
    assert (
        shape["shape"]["attention_heads"] == heads
        and shape["shape"]["max_position_embeddings"] == config["max_position_embeddings"]
    )
    assert abs(shape["bytes"] - sum(p.stat().st_size for p in folder.glob("*.safetensors"))) < 50_000


def test_links_in_the_documents_lead_somewhere() -> None:
    for path in [p for p in TRACKED if p.endswith(".md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / path).read_text()):
            if not target.startswith("http"):
                assert ((ROOT / path).parent / target).exists(), f"{path} -> {target}"


def test_python_names_in_pyproject_say_why() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[tool.uv]")]
    for line in block.splitlines():
        if line.strip().startswith('"'):
            assert "#" in line, line


def test_every_playbook_parses(playbook: Any) -> None:
    names = [f"playbooks/{path.name}" for path in PLAYBOOKS]
    done = playbook(*names, "--syntax-check")  # in one process: to start one takes longer than to parse
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(?m)^playbook: (\S+)", done.stdout) == names


NAMED = ["benchmark", "localise", "logs", "record_reference", "rollback", "rotate_key", "run_service", "stop", "tune", "uninstall"]  # fmt: skip


def test_runs_are_told_to_modules_with_their_replicas() -> None:
    """`runs` names rows; what is deployed has the names of `run_names`."""
    for path in [p for p in TRACKED if p.startswith(("roles/", "playbooks/")) and p.endswith(".yml")]:
        assert not re.search(r"runs: \"{{ runs }}", (ROOT / path).read_text()), path


def test_what_acts_on_a_service_wants_it_named(playbook: Any) -> None:
    """Each asks module services_info, and the module refuses where none is named."""
    asks = re.compile(r"\n      services_info:\n(?: {8}.*\n)*? {8}wanted: \"{{ service \| default\(''\) }}\"\n")
    assert [path.stem for path in PLAYBOOKS if asks.search(path.read_text())] == NAMED
    done = playbook("playbooks/stop.yml", "-l", "local")
    assert done.returncode != 0 and "-e service=NAME" in done.stdout
