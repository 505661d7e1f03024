"""What roles promise: their argument_specs name every variable that they read from outside, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from conftest import ROOT
from jinja2 import Environment, meta

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
SETTINGS = {name for path in (ROOT / "catalogue").glob("*.yml") for name in yaml.safe_load(path.read_text()) or {}}
# The plan of the host, which every role may read.
PLAN = {"plan", "planned", "host_board"}
# What Ansible and its templates bring.
MAGIC = {"groups", "hostvars", "inventory_dir", "inventory_hostname", "item", "lookup", "now", "omit", "playbook_dir", "project_root", "query"}  # fmt: skip
BARE = {"when", "until", "that", "changed_when", "failed_when", "break_when"}  # expressions without braces


class Anything(dict):
    """Filters and tests of every name: only variables are looked for."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return lambda *given: given

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


JINJA = Environment(autoescape=True)
JINJA.filters = JINJA.tests = Anything()


def texts(node: Any, key: str = "") -> Iterator[str]:
    """Every template in a YAML document."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from texts(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, key)
    elif isinstance(node, str):
        yield f"{{{{ {node} }}}}" if key in BARE and "{{" not in node else node


def reads(node: Any) -> set[str]:
    """Variables that the templates of a document read."""
    return {name for text in texts(node) for name in meta.find_undeclared_variables(JINJA.parse(text))}


def makes(node: Any) -> set[str]:
    """Variables that tasks make: results, loop variables, `vars` of their own."""
    found: set[str] = set()
    for value in node if isinstance(node, list) else node.values() if isinstance(node, dict) else []:
        found |= makes(value)
    if isinstance(node, dict):
        found |= {node[key] for key in ("register", "loop_var", "index_var") if isinstance(node.get(key), str)}
        found |= set(node["vars"]) if isinstance(node.get("vars"), dict) else set()
    return found


def called(node: Any) -> set[str]:
    """Roles that tasks include: what those register, the tasks after them may read."""
    found: set[str] = set()
    for value in node if isinstance(node, list) else node.values() if isinstance(node, dict) else []:
        found |= called(value)
    if isinstance(node, dict) and isinstance(include := node.get("ansible.builtin.include_role"), dict):
        found |= {str(include.get("name"))}
    return found


def results_of(role: Path, seen: frozenset[str] = frozenset()) -> set[str]:
    """What the tasks of a role, and of the roles that it includes, register under the role's name."""
    tasks = [yaml.safe_load(path.read_text()) for path in role.glob("tasks/*.yml")]
    found = {name for name in makes(tasks) if name.startswith(f"{role.name}_")}
    for name in called(tasks) - seen - {role.name}:
        if (role.parent / name).is_dir():
            found |= results_of(role.parent / name, seen | {role.name})
    return found


def tasks_of(role: Path, entry: str) -> list[Any]:
    """The tasks of an entry point and of all files that it includes."""
    todo, seen, found = [f"{entry}.yml"], set(), []
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        text = (role / "tasks" / name).read_text()
        found.append(yaml.safe_load(text))
        for target in re.findall(r"""_tasks:(?: |\n +file: )["']?([^"'\n]+)""", text):
            pattern = re.sub(r"{{.*?}}", "*", target)
            todo += [path.name for path in (role / "tasks").glob(pattern) if pattern != "*"]
    return found


def read_from_outside(role: Path, entry: str) -> set[str]:
    """Variables that an entry point reads and that are not the role's own, Ansible's or the plan."""
    tasks, own = tasks_of(role, entry), {}
    for path in role.glob("vars/*.yml"):
        own.update(yaml.safe_load(path.read_text()))
    options = {name for path in role.glob("defaults/*.yml") for name in yaml.safe_load(path.read_text())}
    found, done = reads(tasks), set()
    while more := (found & set(own)) - done:  # variables of the role are templates, too
        done |= more
        found |= reads({name: own[name] for name in more})
    others = {name for one in called(tasks) if (role.parent / one).is_dir() for name in results_of(role.parent / one)}
    registered = {name for name in found if name.startswith(f"{role.name}_") and name not in SETTINGS}
    return {
        name
        for name in found - makes(tasks) - others - registered - set(own) - options - MAGIC - PLAN
        if not name.startswith("ansible_")
    }


def specs(role: Path) -> dict[str, Any]:
    """argument_specs as Ansible reads them."""
    return dict(DataLoader().load_from_file(str(role / "meta/argument_specs.yml"))["argument_specs"])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_roles_contract_rejects_what_it_does_not_know(role: Path) -> None:
    entries = {path.stem for path in (role / "tasks").glob("*.yml")}
    assert "main" in specs(role) and set(specs(role)) <= entries
    for entry in specs(role).values():
        assert entry["short_description"]
        for option, row in entry["options"].items():
            own = option.startswith(tuple(f"{one.name}_" for one in ROLES))
            assert own or option in SETTINGS, f"{option}: neither of a role nor a setting"
            assert row["description"] and row["type"], option


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_roles_contract_names_what_it_reads(role: Path) -> None:
    for entry, spec in specs(role).items():
        read, options = read_from_outside(role, entry), set(spec["options"])
        assert not read - options, f"{role.name}/{entry} reads what meta/argument_specs.yml doesn't name"
        assert not (options & SETTINGS) - read, f"{role.name}/{entry} names settings that it doesn't read"


def test_reading_is_found_wherever_it_happens(tmp_path: Path) -> None:
    role = tmp_path / "demo"
    for folder in ("tasks", "vars"):
        (role / folder).mkdir(parents=True)
    (role / "tasks/main.yml").write_text(
        "- a: '{{ one | whatever(two) }}'\n  when: three is defined\n  register: demo_found\n"
        "- ansible.builtin.include_tasks: 'more_{{ demo_found }}.yml'\n"
        "- b: '{{ four }}{{ demo_own }}{{ item }}{{ plan }}'\n  vars: {four: '{{ five }}'}\n"
    )
    (role / "tasks/more_x.yml").write_text("- that: [six and ansible_check_mode]\n")
    (role / "vars/main.yml").write_text("demo_own: '{{ seven }}'\ndemo_unused: '{{ eight }}'\n")
    assert read_from_outside(role, "main") == {"one", "two", "three", "five", "six", "seven"}


def test_what_others_call_is_an_entry_point() -> None:
    """A task file that another role or a playbook calls is checked by Ansible only where it has a contract."""
    called = re.compile(r"name: (\w+)\n\s+tasks_from: (\w+)")
    for path in [*(ROOT / "playbooks").glob("*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]:
        for role, entry in called.findall(path.read_text()):
            assert entry in specs(ROOT / "roles" / role), f"{path}: {role}/{entry}"


def test_prepare_is_a_table_of_contents() -> None:
    play = yaml.safe_load((ROOT / "playbooks/prepare.yml").read_text())[1]
    named = [task.get("ansible.builtin.include_role", {}).get("name") or list(task)[1] for task in play["tasks"]]
    assert named == [
        "{{ host_board.vendor }}",
        "{{ host_board.role }}",
        "container_engine",
        "python_runtime",
        "firewall",
        "firewall",  # do the hosts of a service reach each other?
    ]
