"""Several names of one service: in the templates of engines that can, a sentence for the others."""

from __future__ import annotations

import json
import shlex
from typing import Any

import jinja2
import pytest
import yaml
from conftest import ROOT, load
from tables import TABLES, small

PLAN = load("filter_plugins/plan.py")
VLLM, FLAGSCALE = "docker.io/vllm/vllm-openai:v0.25.1", "x.example/flagscale:1"
NPU = {"vendor": "ascend", "count": 8, "memory_bytes": 48 << 30, "device_access": "nodes"}
GPU = {"vendor": "nvidia", "count": 8, "memory_bytes": 80 << 30, "device_access": "cdi"}


def planned(**row: Any) -> dict[str, Any]:
    models = {"m": {"sources": {"directory": {"path": "/m"}}, "bytes": 1, "license": "mit"}}
    services = {
        "s": {"model": "m", "port": 8000, "runtime": "container", "image": VLLM, "aliases": ["gpt 4", "it's"], **row}
    }
    board = NPU if row["engine"] == "mindspore" else GPU
    found: dict[str, Any] = PLAN.planned(["s"], **small(services, models, board), locks={})
    return found


def rendered(template: str, service: dict[str, Any]) -> str:
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    jinja.filters.update(
        load("filter_plugins/container.py").FilterModule().filters(),
        quote=lambda value: shlex.quote(str(value)),
        to_json=lambda value, **_: json.dumps(value, ensure_ascii=False),
    )
    return jinja.get_template(template).render(
        service=service, release={"seen": {"model": "/models/m", "host": "0.0.0.0"}}
    )


def test_vllm_reads_them_from_its_file() -> None:
    for engine in ("vllm", "vllm_ascend"):
        record = planned(engine=engine, engine_version="0.25.1" if engine == "vllm" else "0.23.0")["services"][0]
        text = yaml.safe_load(rendered(TABLES["engines"][engine]["files"]["container"]["serve.yaml"], record))
        assert text["served-model-name"] == ["s", "gpt 4", "it's"]


@pytest.mark.parametrize(("aliases", "words"), [(["gpt 4", "it's"], ["--served-model-name", "s", "gpt 4", "it's", "--host=0.0.0.0"]),
                                                ([], ["--served-model-name=s", "--host=0.0.0.0", "--port=8000"])])  # fmt: skip
def test_mindspores_command_line_has_them(aliases: list[str], words: list[str]) -> None:
    record = planned(engine="mindspore", engine_version="0.7.3", aliases=aliases)["services"][0]
    line = shlex.split(rendered("mindspore/run.j2", record).partition("exec ")[2].replace("\\\n", " "))
    assert line[line.index(words[0]) :][: len(words)] == words


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"engine": "sglang"}, "engine 'sglang' serves a model under one name; leave 'aliases' out, callers use 's'"),
        ({"engine": "flagscale", "engine_version": "layout-1"}, "engine 'flagscale' serves a model under one name"),
        ({"engine": "vllm", "image": "docker.io/vllm/vllm-openai:v0.8.4"}, "vLLM 0.8.4 serves a model under one name, 0.10.0 and later"),
        ({"engine": "vllm", "aliases": ["s"]}, "'aliases' has 's' twice, or it is the served name itself"),
        ({"engine": "vllm", "aliases": ["a", "a"]}, "'aliases' has 'a' twice"),
    ],
)  # fmt: skip
def test_an_engine_that_cannot_says_so_before_anything_is_deployed(row: dict[str, Any], says: str) -> None:
    faults = planned(**row)["faults"]
    assert len(faults) == 1 and says in faults[0], faults
