"""docs/architecture.md says which files a change touches. Each change of its table is made in a copy, in those files alone, and works."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import shards
from conftest import ROOT
from ports import free_port
from site_of_tests import Fleet, tree

RULE = """
@rule("no-port-80", "error", "a port that a web server wants")
def no_port_80(service: Record, options: Record) -> Iterator[Finding]:
    if service["port"] == 80:
        yield "port is 80", "take another one"


@rule("trust-remote-code","""
HINT = """HINTS = (
    Hint("gpu-on-fire", r"GPU is on fire", "the GPU burns", "call the fire brigade", "a test", "RuntimeError: GPU is on fire"),
"""
HUBS = "module_utils/serving/weights/hubs"
HUB = '''"""A hub that publishes the list of a repository as JSON."""

from __future__ import annotations

from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.hubs.hub import Hub, client_errors
from ansible.module_utils.serving.weights.listing import Entry, Listing, parsed
from ansible.module_utils.serving.weights.selection import content_of, taken


class NewHub(Hub):
    kind = "newhub"
    packages = ()
    variables = ("NEWHUB_ENDPOINT", "NEWHUB_TOKEN")
    home = "https://newhub.example"

    def listing(self) -> Listing:
        with client_errors("newhub %s" % self.repo):
            url = "%s/%s" % (self.endpoint, self.repo)
            found = parsed(Client({}, self.endpoint, None, self.limits).read(url + "/files.json", 1 << 20))
            entries = (Entry(name=row["name"], size=row["size"], sha256=row["sha256"], url=url + "/" + row["name"]) for row in found["files"])
            rows = taken(entries, self.wanted, lambda entry: content_of(entry, {}, None, self.limits))
        return Listing(self.kind, self.repo, self.requested, found["commit"], headers={}, **rows)
'''
HUB_LINES = "from ansible.module_utils.serving.weights.hubs.modelscope import ModelScope\n\nHUBS: dict[str, type[Hub]] = {hub.kind: hub for hub in (ModelScope"
HUB_MORE = (
    HUB_LINES.replace("\n\n", "\nfrom ansible.module_utils.serving.weights.hubs.newhub import NewHub\n\n") + ", NewHub"
)
# A hub is in several files: {file: (before, after)}.
OF_A_HUB = {
    f"{HUBS}/newhub.py": ("", HUB),
    f"{HUBS}/__init__.py": (HUB_LINES, HUB_MORE),
    "planning/names.py": (
        '    "huggingface": ("repo", "revision"),\n',
        '    "huggingface": ("repo", "revision"),\n    "newhub": ("repo", "revision"),\n',
    ),
    "catalogue/settings.yml": ("modelscope, huggingface]\n", "modelscope, huggingface, newhub]\n"),
}
CHANGES: dict[str, tuple[str, str, str]] = {
    "a model": (
        "catalogue/models.yml", "catalogue_models:\n",
        "catalogue_models:\n  new-model: {sources: {directory: {path: /m}}, bytes: 10, license: mit}\n",
    ),
    "a service": ("catalogue/services.yml", "catalogue_services:\n", "catalogue_services:\n  new-service: {model: new-model, port: 80}\n"),
    "a board": ("catalogue/boards.yml", "catalogue_boards:\n", "catalogue_boards:\n  new-board:\n    vendor: nvidia\n    memory_bytes: 24_000_000_000\n"),
    "a known combination of versions": (
        "catalogue/versions.yml", "catalogue_known_versions:\n",
        "catalogue_known_versions:\n  new-pair: {verdict: bad, board: new-board, text: it burns, remedy: use water, source: a test}\n",
    ),
    "a setting": ("catalogue/settings.yml", "runs: []\n", "new_setting: 7\nruns: []\n"),
    "a rule of validate": ("filter_plugins/lint.py", '\n@rule("trust-remote-code",', RULE),
    "a failure hint": ("module_utils/serving/service/hints/nvidia.py", "HINTS = (\n", HINT),
    "a verb": ("playbooks/new_verb.yml", "", (ROOT / "playbooks/describe_board.yml").read_text().replace("Describe the board", "A new verb")),
}  # fmt: skip


def table() -> dict[str, str]:
    """{change: files} of the page."""
    page = (ROOT / "docs/architecture.md").read_text()
    rows = page[page.index("| change | files |") :].split("\n\n")[0].splitlines()[2:]
    return {cells[1].strip(): cells[2].strip() for cells in (row.split("|") for row in rows)}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    base = tmp_path_factory.mktemp("changes")
    found = Fleet(base)
    subprocess.run(["chmod", "-R", "u+w", str(found.product)], check=True)
    found.before = tree(found.product)
    for file, before, after in [*CHANGES.values(), *((file, *edit) for file, edit in OF_A_HUB.items())]:
        path = found.product / file
        text = path.read_text() if path.exists() else ""
        assert not before or text.count(before) == 1, file
        path.write_text(text.replace(before, after) if before else after)
        path.chmod(0o644)
    found.make()
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "board": "new-board",
        "runs": ["new-service"],
    }
    found.write("fleet/inventory/hosts.yml", json.dumps({"accelerators": {"hosts": {"one": host}}}))
    return found


def test_each_change_touches_the_files_that_the_page_says(fleet: Fleet) -> None:
    said, after = table(), tree(fleet.product)
    for change, (file, _, _) in CHANGES.items():
        assert f"`{file}`" in said[change] or f"`{Path(file).parent}/" in said[change], change
    for file in OF_A_HUB:
        assert f"`{file}`" in said["a hub"] or f"`{Path(file).parent}/" in said["a hub"], file
    assert {name for name in after if after[name].split()[0] != fleet.before.get(name, "").split(" ")[0]} == {
        *(f for f, _, _ in CHANGES.values()),
        *OF_A_HUB,
    }
    # What is not made here is said with its files, too, and they are there.
    for change in set(said) - set(CHANGES) - {"a hub"}:
        files = re.findall(r"`([\w./]+)`", said[change])
        assert files and all((ROOT / file).exists() for file in files), change


@pytest.mark.slow
def test_a_row_of_each_table_a_rule_and_a_setting_work(fleet: Fleet) -> None:
    told = fleet.play("playbooks/validate.yml", ok=False)
    assert "one: new-service: port is 80; take another one [no-port-80]" in told
    assert "new-service new-model new-board vllm container" in fleet.play(
        "playbooks/validate.yml", extra={"overrides": {"new-service": {"port": 81}}}
    )
    asked = fleet.call(
        "ansible", "one", "-m", "ansible.builtin.debug", "-a", "msg={{ new_setting }}-{{ versions['new-pair'].remedy }}"
    )
    assert "7-use water" in asked.stdout


@pytest.mark.slow
def test_a_verb_works_where_it_lies(fleet: Fleet) -> None:
    assert "vendor:" in fleet.play("playbooks/new_verb.yml")


def test_a_hint_explains_a_log(fleet: Fleet) -> None:
    code = (
        "import sys, ansible.module_utils as u; u.__path__.append(sys.argv[1]);"
        "from ansible.module_utils.serving.service import failures as f; print(f.explain(['RuntimeError: GPU is on fire'], 1).meaning)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(fleet.product / "module_utils")], capture_output=True, text=True, check=True
    )
    assert "call the fire brigade" in done.stdout


@pytest.mark.slow
def test_a_hub_is_planned_and_lists_its_files(fleet: Fleet, tmp_path: Path) -> None:
    sources = {"newhub": {"repo": "org/m", "revision": None}}
    models = {"of-the-hub": {"sources": sources, "bytes": 10, "license": "mit"}}
    services = {"from-the-hub": {"model": "of-the-hub", "port": 8100, "engine_args": {"max_model_len": 2048}}}
    extra = {"models": models, "services": services, "runs": ["from-the-hub"]}
    told = fleet.play("playbooks/validate.yml", extra=extra)
    assert "from-the-hub of-the-hub new-board" in told and "has no revision on newhub" in told

    repo = tmp_path / "org/m"
    repo.mkdir(parents=True)
    (repo / "config.json").write_text('{"model_type": "qwen2"}')
    shards.write(repo / "model.safetensors", {"w": ("BF16", [2, 2], b"\0" * 8)})
    rows = [
        {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(repo.iterdir())
    ]
    (repo / "files.json").write_text(json.dumps({"commit": "c" * 40, "files": rows}))
    server = ThreadingHTTPServer(
        ("127.0.0.1", free_port()), functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    given = {
        "name": "of-the-hub", "include": [], "exclude": [], "convert": None, "models_root": str(tmp_path), "require_pin": False,
        "sources": sources, "order": ["directory", "newhub"], "peers_file": "", "newhub_endpoint": f"http://127.0.0.1:{server.server_port}",
    }  # fmt: skip
    code = (
        "import json, sys, ansible.module_utils as u; u.__path__.append(sys.argv[1]); given = json.loads(sys.argv[2]);"
        "from ansible.module_utils.serving.deadlines import Limits;"
        "from ansible.module_utils.serving.weights.sources import candidates, source_of;"
        "[(kind, row)] = [one for one in candidates(given, 'of-the-hub') if one[0] == 'newhub'];"
        "found = source_of(kind, row, given, Limits()).listing(); print(found.revision, *sorted(file.name for file in found.files))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(fleet.product / "module_utils"), json.dumps(given)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert done.stdout.split() == ["c" * 40, "config.json", "model.safetensors"], done.stdout + done.stderr
