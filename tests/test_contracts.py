"""What every part of the project promises: documented, typed arguments, check mode, names that can be found."""

from __future__ import annotations

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
ROLES = sorted(p.name for p in (ROOT / "roles").iterdir() if p.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
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


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_contract_rejects_what_it_does_not_know(role: str) -> None:
    specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
    entries = {p.stem for p in (ROOT / f"roles/{role}/tasks").glob("*.yml")}
    assert "main" in specs and set(specs) <= entries
    for entry in specs.values():
        assert entry["short_description"]
        for option, row in entry["options"].items():
            assert option.startswith(role), f"{option}: variables of a role start with its name"
            assert row["description"] and row["type"]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda p: p.stem)
def test_playbooks_only_sequence(path: Path) -> None:
    text = path.read_text()
    plays = yaml.safe_load(text)
    assert "set_fact" not in text and "shell:" not in text
    for play in plays:
        assert play["name"]
        assert "ansible.builtin.import_playbook" in play or play["hosts"] in (
            "accelerators",
            "{{ 'accelerators' | string }}",
        )
        # `-l h100` silently skips a play on localhost: controller work is delegated instead
        assert play.get("gather_facts", False) is False


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
        "Unlock",
    ]
    for phase in ("preflight", "prepare", "fetch", "serve", "verify"):
        assert yaml.safe_load((ROOT / f"playbooks/{phase}.yml").read_text())[0]["tags"] == [phase]


def test_no_task_sets_facts_or_pipes() -> None:
    for path in [p for p in TRACKED if p.startswith(("roles/", "playbooks/")) and p.endswith(".yml")]:
        text = (ROOT / path).read_text()
        assert not re.search(r"set_fact|ansible\.builtin\.shell|hash_behaviour|\bignore_errors: yes", text), path


def test_filters_and_module_utils_share_no_code() -> None:
    """A filter that imports module_utils is skipped by Ansible with a mere warning."""
    for folder in ("filter_plugins", "lookup_plugins", "action_plugins"):
        for path in (ROOT / folder).glob("*.py"):
            assert not re.search(r"module_utils[./]|import module_utils", path.read_text()), path


def test_no_file_names_a_machine_or_a_secret() -> None:
    """Nothing of the machine that it was made on: no path, no index, no key."""
    bad = re.compile(
        r"/work/main|/opt/(pypi|wheels)|\.\./shared|aliyun-mirror|-----BEGIN [A-Z ]*PRIVATE KEY|\bsk-[A-Za-z0-9]{20}"
    )
    for path in TEXT:
        if path == "tests/test_contracts.py":
            continue
        found = bad.search((ROOT / path).read_text(errors="replace"))
        assert not found, f"{path}: {found and found.group()}"


def test_the_locks_name_no_index() -> None:
    for path in [p for p in TRACKED if p.endswith(".lock")]:
        assert not re.search(r"https?://|file:", (ROOT / path).read_text()), path


def test_the_demo_model_is_as_promised() -> None:
    import json

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
    shape = yaml.safe_load((ROOT / "inventory/group_vars/all/models.yml").read_text())["models"]["demo"]
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


@pytest.mark.parametrize("name", [p.stem for p in PLAYBOOKS])
def test_every_playbook_parses(name: str, playbook: Any) -> None:
    done = playbook(f"playbooks/{name}.yml", "--syntax-check")
    assert done.returncode == 0, done.stderr


def test_validate_contacts_no_host_and_shows_the_plan(playbook: Any) -> None:
    done = playbook("playbooks/validate.yml")
    assert done.returncode == 0, done.stdout
    assert re.search(r"localhost +demo +demo +local +vllm +native", done.stdout)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('{"runs": ["demmo"]}', ["host localhost", "'demmo'", "did you mean 'demo'?"]),
        ('{"overrides": {"demo": {"prot": 1}}}', ["unknown key 'prot'", "did you mean 'port'?"]),
        ('{"overrides": {"demo": {"hardware": "h100"}}}', ["made for hardware 'h100'", "'local'"]),
    ],
)
def test_validate_refuses_with_the_host_and_the_nearest_name(playbook: Any, extra: str, words: list[str]) -> None:
    done = playbook("playbooks/validate.yml", "-e", extra)
    assert done.returncode != 0
    flat = " ".join(done.stdout.split() + done.stderr.split()).replace("''", "'")
    for word in words:
        assert word in flat, flat


@pytest.mark.parametrize("name", ["stop", "start", "restart", "uninstall", "logs"])
def test_what_acts_on_a_service_wants_it_named(playbook: Any, name: str) -> None:
    done = playbook(f"playbooks/{name}.yml", "-l", "local")
    assert done.returncode != 0 and "-e service=NAME" in done.stdout
