"""The vendor documents' settings against the tables, setting by setting, and the lint's rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from conftest import FIXTURES, ROOT, load
from tables import BOARDS, CATALOGUE, REFERENCES, TABLES

from planning.catalogue import laid_over

p, lint_module = load("filter_plugins/plan.py"), load("filter_plugins/lint.py")
DOCUMENTS = FIXTURES / "documents"
ROWS = {
    "QwQ-32B-FlagOS-Nvidia": "qwq-32b",
    "DeepSeek-R1-Distill-Qwen-32B-FlagOS-NVIDIA": "deepseek-r1-distill-qwen-32b",
    "Qwen2.5-VL-32B-Instruct-FlagOS-Nvidia": "qwen2.5-vl-32b-instruct",
    "Qwen2-7B-FlagOS-Arm": "qwen2-7b-instruct",
    "QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore": "qwq-32b-atlas",
}
CHANGED = (ROOT / "docs/vendor-documents.md").read_text()


def text(document: str) -> str:
    return (DOCUMENTS / f"{document}.md").read_text()


def record(service: str, **override: Any) -> dict[str, Any]:
    row: dict[str, Any] = p.plan([service], TABLES, board_of(service), {service: override}, host="box")[0]
    return row


def board_of(service: str) -> str:
    """The first board that a row is for."""
    return str(TABLES["services"][service].get("boards", ["local"])[0])


def findings(service: str, require_pins: bool = False, **override: Any) -> list[dict[str, str]]:
    row = record(service, **override)
    return lint_module.lint([row], BOARDS[row["board"]], require_pins)


def rules(service: str, severity: str = "error", **override: Any) -> set[str]:
    return {f["rule"] for f in findings(service, **override) if f["severity"] == severity}


def serve_block(document: str) -> dict[str, Any]:
    """engine_args of the serve YAML that the document wants in the end (the last block of its kind)."""
    block = re.findall(r"(- serve_id: vllm_model\n(?:.*\n)*?)```", text(document))[-1]
    return dict(yaml.safe_load(block)[0]["engine_args"])


@pytest.mark.parametrize("document", [d for d in ROWS if "Nvidia" in d or "NVIDIA" in d])
def test_every_serve_setting_is_in_the_row_or_in_the_table_of_changes(document: str) -> None:
    row, theirs = record(ROWS[document]), serve_block(document)
    ours = row["engine_args"]
    assert row["port"] == theirs.pop("port")
    assert row["served_name"] == theirs.pop("served_model_name")
    assert (
        theirs.pop("model").rsplit("/", 1)[1] in TABLES["models"][row["model"]["name"]]["sources"]["modelscope"]["repo"]
    )
    for key, value in theirs.items():
        if ours.get(key) != value:
            assert f"`{key}" in CHANGED, (
                f"{key}: {value} in the document, {ours.get(key)} in the row, and no word on why"
            )
    for key in set(ours) - set(theirs):
        assert key in row["undocumented"], f"{key} is ours and must be marked so"


@pytest.mark.parametrize("document", list(ROWS))
def test_image_weights_and_title_are_the_documents(document: str) -> None:
    row, words = record(ROWS[document]), text(document)
    assert row["document"] == document
    assert row["image"] in words
    hubs = row["model"]["sources"]
    assert all(source["revision"] is None for source in hubs.values())  # nobody invents a pin
    if row["board"] != "atlas300iduo":
        assert f"--model {hubs['modelscope']['repo']}" in words


def test_the_documents_variables_of_h100() -> None:
    block = re.search(r"envs:\n((?: {4}.*\n)+) {2}cmds", text("QwQ-32B-FlagOS-Nvidia"))
    assert block
    theirs = yaml.safe_load("x:\n" + block.group(1))["x"]
    assert record("qwq-32b")["env"] == {k: str(v) for k, v in theirs.items()}
    assert record("qwq-32b")["activate"] in text("QwQ-32B-FlagOS-Nvidia")
    assert record("qwq-32b")["flaggems"] is True  # export USE_FLAGGEMS=1
    assert record("qwen2.5-vl-32b-instruct")["flaggems"] is False  # "set true if use FlagGems" is not asked for


def test_atlas_command_line_and_environment() -> None:
    words, row = text("QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore"), record("qwq-32b-atlas")
    command = re.search(r"^python3 -m vllm_mindspore\.entrypoints.*$", words, re.M)
    assert command
    theirs = dict(re.findall(r"--([a-z-]+)=(\S+)", command.group()))
    assert {k.replace("-", "_"): float(v) for k, v in theirs.items()} == {
        k: float(v) for k, v in row["engine_args"].items()
    }
    exported = re.findall(r"^export (\w+)=(.*)$", words, re.M)
    for name, value in dict(exported).items():  # of an option set twice the last counts, as in the shell
        value = value.strip('"')
        if name in ("VLLM_TARGET_DEVICE", "vLLM_MODEL_MEMORY_USE_GB", "ASCEND_TOTAL_MEMORY_GB"):
            assert f"`{name}`" in CHANGED
            assert name not in row["env"]
        elif name == "MINDFORMERS_MODEL_CONFIG":
            assert row["env"][name].endswith("/predict_qwq_32b.yaml")
        else:
            assert row["env"][name] == value, name
    assert [name for name, _ in exported].count("HCCL_OP_EXPANSION_MODE") == 2
    assert row["env"]["HCCL_OP_EXPANSION_MODE"] == "AI_CPU"
    for index in range(4):
        assert f"/dev/davinci{index}" in [n.format(index=index) for n in row["device_nodes"]]
    for node in re.findall(r"--device /dev/(\w+)", words):
        assert f"/dev/{node}" in [n.format(index=0) for n in row["device_nodes"]]
    for source in re.findall(r"^-v ([^:]+):", words, re.M):
        assert any(m.startswith(source.rstrip("/") + ":") and m.endswith(":ro") for m in row["mounts"]), source
    assert row["convert"] == "float16"


def test_both_columns_and_the_build_from_source_are_variants() -> None:
    variants, words = (
        TABLES["engines"]["mindspore"]["versions"],
        text("QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore").replace("\\", ""),
    )
    assert (
        variants["0.7.3"].get("supported", True)
        and not variants["0.8.3"]["supported"]
        and not variants["source"]["supported"]
    )
    for version in ("0.7.3", "0.8.3"):
        for part in variants[version]["parts"].values():
            for key in ("branch", "tag", "commit"):
                assert part.get(key, "") in words, part
    for version in ("0.8.3", "source"):
        with pytest.raises(Exception, match=f"'mindspore' {re.escape(version)} is not supported: .+"):
            record("qwq-32b-atlas", engine_version=version)
    with pytest.raises(Exception, match=r"'0\.7\.4' is not in engines.yml; did you mean '0\.7\.3'"):
        record("qwq-32b-atlas", engine_version="0.7.4")


@pytest.mark.parametrize("document", [d for d in ROWS if "Atlas" not in d])
def test_benchmark_tables_are_the_documents(document: str) -> None:
    table = REFERENCES[ROWS[document]]
    assert document in table["source"] and table["reference_stack"] in text(document)
    seen = 0
    for line in text(document).splitlines():
        cells = [c.strip() for c in line.strip("| \n").split("|")]
        if len(cells) == 3 and re.fullmatch(r"[\d.]+", cells[2]):
            ours = table["metrics"][cells[0]]
            scale = 100 if "shares of one" in table["source"] else 1
            assert ours["document"] == pytest.approx(float(cells[2]) * scale)
            assert (
                ours["reference"] is None
                if cells[1] == "-"
                else ours["reference"] == pytest.approx(float(cells[1]) * scale)
            )
            seen += 1
    assert seen == len(table["metrics"])


@pytest.mark.parametrize("service", sorted(TABLES["services"]))
def test_no_row_of_ours_has_an_error(service: str) -> None:
    assert rules(service) == set()
    # Open pins are the only warnings.
    assert rules(service, "warning") <= {"tag-without-digest", "revision-not-pinned"} | (
        {"open-media"} if "-vl-" in service else set()
    )


@pytest.mark.parametrize(
    ("service", "override", "rule"),
    [
        ("qwq-32b", {"engine_args": {"tokenizer": "/nfs/QwQ-32B"}}, "path-without-mount"),
        ("qwen2-7b-instruct", {"engine_args": {"gpu_memory_utilization": 0.9}}, "gpu-flag-on-cpu"),
        ("qwen2-7b-instruct", {"env": {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}}, "gpu-flag-on-cpu"),
        ("qwen2-7b-instruct", {"device_access": "cdi"}, "gpu-flag-on-cpu"),
        ("demo", {"engine_args": {"kv_cache_memory_bytes": None}}, "memory-not-set"),
        ("qwq-32b", {"address": "0.0.0.0", "api_key": False}, "open-api"),
        ("qwq-32b", {"address": "::", "api_key": False}, "open-api"),
        ("qwq-32b", {"engine_args": {"max_model_len": 40961}}, "context-beyond-model"),
        ("qwen2-7b-instruct", {"engine_args": {"tensor_parallel_size": 8}}, "heads-by-tensor-parallel"),
        ("qwq-32b", {"engine_args": {"tensor_parallel_size": 3}}, "heads-by-tensor-parallel"),
        (
            "qwq-32b-atlas",
            {"engine_args": {"tensor_parallel_size": 1}, "env": {"ASCEND_RT_VISIBLE_DEVICES": "0"}},
            "weights-beyond-memory",
        ),
        ("qwq-32b-atlas", {"env": {"ASCEND_RT_VISIBLE_DEVICES": "4,5,6,7"}}, "visible-devices"),
        ("qwq-32b-atlas", {"flaggems": True}, "flaggems-without-backend"),
        ("qwq-32b-atlas-ascend", {"engine_args": {"dtype": "bfloat16"}}, "graphs-and-mask"),
        ("qwq-32b-atlas-ascend", {"engine_args": {"max_model_len": None}}, "graphs-and-mask"),
        ("qwq-32b-atlas-ascend", {"engine_args": {"compilation_config": None}}, "graphs-and-mask"),
        ("qwen2-7b-instruct", {"image_arch": "x86_64"}, "wrong-architecture"),
    ],
)
def test_each_error_is_found_with_its_remedy(service: str, override: dict[str, Any], rule: str) -> None:
    found = [f for f in findings(service, **override) if f["rule"] == rule]
    assert found and found[0]["severity"] == "error"
    assert found[0]["text"] and found[0]["remedy"]
    line = lint_module.lint_text(found).splitlines()[0]
    assert line.startswith("error") and f"box: {service}: " in line and f"[{rule}]" in line


@pytest.mark.parametrize(
    ("service", "override", "rule"),
    [
        ("qwen2-7b-instruct", {"engine_args": {"max_modle_len": 1}}, "unknown-option"),
        (
            "qwq-32b",
            {"engine": "vllm", "engine_version": "9.0.0", "engine_args": {"max_modle_len": 1}},
            "unknown-version",
        ),
        ("qwq-32b-atlas", {"env": {"MS_ENABLE_LCCL": False}}, "env-boolean"),
        ("qwq-32b", {"env": {"LD_PRELOAD": "/opt/lib/x.so"}}, "loader-variable"),
        ("qwq-32b", {"env": {"HF_TOKEN": "hf_abcdefghij"}}, "secret-in-env"),
        ("qwq-32b", {"engine_args": {"max_model_len": None}}, "max-model-len-unset"),
        ("demo-vision", {"engine_args": {"allowed_media_domains": None}}, "open-media"),
        ("qwq-32b", {"flaggems": False}, "eager-without-reason"),
        ("qwq-32b", {"engine_args": {"trust_remote_code": True}}, "trust-remote-code"),
        ("qwq-32b", {"rights": ["host-network"]}, "rights-beyond-least"),
        ("demo", {"engine_args": {"kv_events_config": {"enable_kv_cache_events": True}}}, "port-without-key"),
    ],
)
def test_each_warning_is_found(service: str, override: dict[str, Any], rule: str) -> None:
    assert rule in rules(service, "warning", **override)
    assert rule not in rules(service, "warning")


def test_tensor_parallelism_over_pcie_is_told() -> None:
    row, rule = record("qwq-32b"), "parallel-over-pcie"
    assert rule in {f["rule"] for f in lint_module.lint([row], BOARDS["l40s"])}
    assert rule not in {f["rule"] for f in lint_module.lint([row], BOARDS["h100-sxm"])}


def test_a_quantised_model_on_a_board_without_its_kernels() -> None:
    lint = lint_module.lint
    row = record("qwq-32b")
    old = {"compute_capability": "7.0", "memory_bytes": 85_520_809_984}
    row["model"] = {**row["model"], "quantization": "awq"}
    assert [f["severity"] for f in lint([row], old) if f["rule"] == "quantisation-not-here"] == ["error"]
    row["model"] = {**row["model"], "quantization": "fp8"}
    assert [
        f["severity"]
        for f in lint([row], {**old, "compute_capability": "8.0"})
        if f["rule"] == "quantisation-saves-memory-alone"
    ] == ["warning"]
    assert not [
        f
        for f in lint([row], {**old, "compute_capability": "9.0"})
        if f["rule"] in ("quantisation-not-here", "quantisation-saves-memory-alone")
    ]


def test_every_rule_is_exercised() -> None:
    source = (ROOT / "tests/unit/test_catalogue.py").read_text()
    for rule in lint_module.RULES:
        assert source.count(f'"{rule.name}"') >= 1, rule.name


def test_pins_are_warnings_until_they_are_required() -> None:
    both = {"tag-without-digest", "revision-not-pinned"}
    assert {f["rule"] for f in findings("qwq-32b") if f["severity"] == "warning"} == both
    assert {f["rule"] for f in findings("qwq-32b", require_pins=True) if f["severity"] == "error"} == both
    pinned = {"image": "registry.example/vllm@sha256:" + "0" * 64}
    assert "tag-without-digest" not in rules("qwq-32b", "warning", **pinned)


def test_three_rows_of_eight_devices_fit_one_host_by_overrides_and_not_without() -> None:
    names = ["qwq-32b", "deepseek-r1-distill-qwen-32b", "qwen2.5-vl-32b-instruct"]

    def place(overrides: dict[str, Any]) -> list[list[int]]:
        rows = p.plan(names, TABLES, "h100-sxm", overrides, host="box")
        return [row["devices"] for row in rows]

    with pytest.raises(Exception, match="needs 8 devices"):
        place({})
    narrow = {
        name: {"port": 9010 + i, "engine_args": {"tensor_parallel_size": n}}
        for i, (name, n) in enumerate(zip(names, (4, 2, 2), strict=True))
    }
    assert place(narrow) == [[0, 1, 2, 3], [4, 5], [6, 7]]


def test_an_image_for_another_machine_is_said_by_fit(run_module: Callable[..., dict[str, Any]], tmp_path: Any) -> None:
    row = record("qwq-32b-atlas", port=1)
    found = {
        "kind": "npu",
        "arch": "x86_64",
        "count": 4,
        "devices": [],
        "topology": {},
        "problems": [],
        "memory": {"total_bytes": None, "available_bytes": None, "limit_bytes": None},
    }
    result = run_module(
        "fit", {"plan": [row], "record": found, "serving_root": str(tmp_path), "models_root": str(tmp_path)}
    )
    assert result["failed"] and "its image is built for aarch64, this host is x86_64" in result["msg"]


@pytest.mark.parametrize(
    "words",
    [
        "--privileged", "--net=host", "--ipc=host", "--uts=host", "--gpus all", "/dev/infiniband", "--shm-size", "seccomp=unconfined",
        "--ulimit memlock=-1", "--ulimit stack", "/bin/bash", "sleep infinity", "git clone", "USE_FLAGGEMS", "trust_remote_code",
        "enforce_eager", "max_num_seqs: 256", "-v /nfs:/nfs", "rdma: true", "licence lines", "aarch64 only",
    ],
)  # fmt: skip
def test_the_table_of_changes_speaks_of_every_trap(words: str) -> None:
    table = CHANGED[CHANGED.index("| vendor document | here |") :]
    assert words in table


def test_mindformers_settings_are_the_documents() -> None:
    """The template, rendered for the vendor document's own folder, has its values in every key."""
    from jinja2 import Environment, StrictUndefined

    source = (ROOT / "templates/mindspore/predict_qwq_32b.yaml.j2").read_text()
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.filters["to_json"] = lambda value: f'"{value}"'
    rendered = environment.from_string(source).render(
        release={"seen": {"model": "/home/ckpt/QwQ"}}, service={"engine_args": {"tensor_parallel_size": 4}}
    )
    theirs = next(
        b
        for b in re.findall(r"```yaml\n(.*?)```", text("QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore"), re.S)
        if "seed: 0" in b
    )
    assert yaml.safe_load(rendered) == yaml.safe_load(theirs)


def test_hardware_page_is_true() -> None:
    page = (ROOT / "docs/hardware.md").read_text()
    level = dict(re.findall(r"^\| ([\w-]+) \| (real|stand-in|documents) \|", page, re.M))
    assert set(level) == set(BOARDS)
    for name, what in level.items():
        scenario = (ROOT / "molecule" / (BOARDS[name]["role"] or name) / "molecule.yml").exists()
        assert (what == "stand-in") == scenario, f"{name}: '{what}', molecule scenario: {scenario}"
    for name, row in TABLES["services"].items():
        found = re.search(rf"^\| {re.escape(name)} \| ([^|]+) \| ([\w.-]*) ?\|", page, re.M)
        assert found and found[1] == (", ".join(row.get("boards", [])) or "any"), name
        assert found[2].strip() == row.get("document", "")


def test_every_board_plans_and_says_where_its_figures_come_from() -> None:
    """A model of two billion parameters or so, by what the board's vendor gives: no row of the service names a board."""
    model = {**TABLES["models"]["qwen2-7b-instruct"], "bytes": 3_000_000_000}
    service = {"model": "small", "port": 8000, "engine_args": {"max_model_len": 4096}}
    tables = {**TABLES, "models": {"small": model}, "services": {"small": service}}
    for name, board in BOARDS.items():
        given = {"name": name, "count": board["count"] or (None if board["kind"] == "cpu" else 1)}
        if "bfloat16" not in board["dtypes"]:
            tables["services"] = {"small": {**service, "convert": False}}
        [row] = p.plan(["small"], tables, given, host="box")
        assert board["sources"] and row["kind"] == board["kind"] and row["board"] == name
        assert board["kind"] == "cpu" or board["memory_bytes"] > 20 << 30
        told = [s for s in board["sources"] if "https://" in s or "this product ran on" in s]
        assert board["kind"] == "cpu" or told, f"{name}: no source that can be looked up"
        found = lint_module.lint([row], board)
        assert not [f for f in found if f["severity"] == "error"], (name, found)


def test_a_board_of_four_lines_is_a_whole_one() -> None:
    boards = yaml.safe_load("boards:\n  my-l4:\n    vendor: nvidia\n    memory_bytes: 24_152_899_584\n")["boards"]
    tables = laid_over(CATALOGUE, {"boards": boards})
    [row] = p.plan(["demo"], tables, {"name": "my-l4", "count": 2}, host="box")
    assert (row["engine"], row["runtime"], row["device_access"], row["devices"]) == ("vllm", "container", "cdi", [0])
    assert row["image"].startswith("docker.io/vllm/vllm-openai:")


def test_readme_names_every_model_under_its_hardware() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    header = next(line for line in lines if line.startswith("| | local"))
    columns = [c.strip().split(" ")[0] for c in header.split("|")[2:-1]]
    for name, row in TABLES["services"].items():
        line = next(line for line in lines if line.lower().startswith(f"| {row['model']} "))
        column = next(i for i, column in enumerate(columns) if board_of(name).startswith(column))
        assert line.split("|")[2 + column].strip() in ("deployed", "planned"), name


def test_variables_page_is_what_the_code_declares() -> None:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: python scripts/docs.py"
