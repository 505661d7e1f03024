"""What every part of the project promises: documented, typed arguments, check mode, names that can be found."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from conftest import ROOT, load

MODULES = sorted(p.stem for p in (ROOT / "library").glob("*.py"))
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
ROLES = sorted(p.name for p in (ROOT / "roles").iterdir() if p.is_dir())
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
