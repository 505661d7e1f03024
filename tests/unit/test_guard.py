"""The guard in front of an engine's API: what comes through it, with which key, in every way that a path can be spelled."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from conftest import ROOT, load
from test_catalogue import record

FILE = ROOT / "templates/guard/vllm_ansible_guard.py"
f = load("filter_plugins/guard.py")
load("filter_plugins/plan.py")
from planning.engines import PATHS  # noqa: E402

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
# What vLLM 0.4 to 0.33, vllm-ascend and SageMaker's and Cohere's layers route beside what our callers are offered.
CLOSED = (
    "/ping", "/version", "/load", "/invocations", "/tokenize", "/detokenize", "/tokenizer_info", "/get_tokenizer_info", "/pooling",
    "/classify", "/score", "/rerank", "/v2/rerank", "/v2/embed", "/generative_scoring", "/scale_elastic_ep", "/is_scaling_elastic_ep",
    "/sleep", "/wake_up", "/is_sleeping", "/collective_rpc", "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache",
    "/start_profile", "/stop_profile", "/pause", "/resume", "/is_paused", "/server_info", "/init_weight_transfer_engine", "/update_weights",
    "/get_world_size", "/abort_requests", "/inference/v1/generate", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/realtime",
    "/v1/chat/completions/render", "/v1/completions/render", "/cohere/v2/chat", "/adapters", "/docs", "/docs/oauth2-redirect", "/redoc",
    "/openapi.json", "/metrics/", "/metrics/x", "/", "", "*", "/nowhere",
)  # fmt: skip
# Other spellings of paths, decoded as a server hands them to applications.
SPELLED = (
    "/v1/models/", "//v1/models", "/v1//models", "/v1/models/../../invocations", "/v1/../invocations", "/./invocations", "/V1/models",
    "/HEALTH", "/health/", "/health/../invocations", "//health", "/health;x", "/health\x00", "/health\n", "/health?x", "/health#",
    "/v1/models\n", "/v1/responses/..", "/v1/responses/.", "/v1/responses/a/b", "/v1/responses//cancel", "/v1/responses/../x/cancel",
    "/v1/models;/../x", "v1/models", "/v1\\models", "/v1/models%2f", "http://x/v1/models", "/\uff561/models", "/v1/\uff4dodels",
)  # fmt: skip


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """guard(keys, paths) -> ask(path, method, key, ...) -> (status or None if the application was reached, scope it saw)."""

    def make(keys: str | None = "right\nolder\n", paths: tuple[str, ...] = (), inner: str = "right") -> Any:
        spec = importlib.util.spec_from_file_location("vllm_ansible_guard", FILE)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        (tmp_path / "keys").write_text(keys or "")
        monkeypatch.setenv("GUARD_PATHS", " ".join(f.callers_paths({"engine_facts": {"paths": PATHS}, "paths": paths})))
        monkeypatch.setenv("GUARD_KEYS", "" if keys is None else str(tmp_path / "keys"))
        monkeypatch.setenv("VLLM_API_KEY", inner)
        reached: list[dict[str, Any]] = []

        async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
            reached.append(scope)

        middle = module.Guard(application)

        def ask(
            path: str, method: str = "GET", key: str | list[bytes] | None = None, kind: str = "http", root: str = ""
        ) -> Any:
            lines = key if isinstance(key, list) else [b"Bearer " + key.encode()] if key else []
            headers = [(b"host", b"x"), *((b"Authorization", line) for line in lines)]
            scope = {"type": kind, "path": path, "raw_path": path.encode(), "root_path": root, "headers": headers}
            sent: list[dict[str, Any]] = []

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            reached.clear()
            asyncio.run(middle(scope if kind == "websocket" else {**scope, "method": method}, None, send))
            assert bool(reached) != bool(sent), "either refused or passed on"
            return reached[0] if reached else sent[0].get("status", sent[0].get("code"))

        return ask

    return make


@pytest.mark.parametrize("path", [*PATHS, *CLOSED, *SPELLED])
def test_without_a_key_nothing_answers_whatever_the_method(guard: Any, path: str) -> None:
    ask = guard()
    spelled = path.replace("{}", "resp_1")
    for method in METHODS:
        assert ask(spelled, method) == 401, (method, path)
        assert ask(spelled, method, "wrong") == 401, (method, path)
    assert ask(spelled, kind="websocket") == 1008


@pytest.mark.parametrize("path", [*CLOSED, *SPELLED])
def test_with_the_key_only_the_list_is_there(guard: Any, path: str) -> None:
    for ask in (guard(), guard(keys=None, inner="")):
        assert {ask(path, method, "right") for method in METHODS} == {404}
        assert ask(path, key="right", kind="websocket") == 1008


@pytest.mark.parametrize("path", PATHS)
def test_with_the_key_the_list_answers(guard: Any, path: str) -> None:
    seen = guard()(path.replace("{}", "resp_0a-1"), "POST", "right")
    assert seen["path"] == path.replace("{}", "resp_0a-1")


def test_health_alone_is_open_to_looks(guard: Any) -> None:
    ask = guard()
    assert ask("/health")["path"] == "/health" and ask("/health", "HEAD")["path"] == "/health"
    assert [ask("/health", method) for method in METHODS[2:]] == [401] * len(METHODS[2:])
    assert ask("/health", kind="websocket") == 1008


@pytest.mark.parametrize(
    ("lines", "good"),
    [
        ([b"Bearer right"], True), ([b"bearer right"], True), ([b"BEARER  right"], True), ([b"Bearer older"], True), ([], False),
        ([b"Bearer"], False), ([b"Bearer "], False), ([b"right"], False), ([b"Basic right"], False), ([b"Bearer righ"], False),
        ([b"Bearer rightt"], False), ([b"Bearer right older"], False), ([b"Bearer right", b"Bearer right"], False), ([b""], False),
        ([b"Bearer wrong", b"Bearer right"], False), ([b"Bearer \xff\xfe"], False), ([b"Bearer right,Bearer x"], False),
    ],
)  # fmt: skip
def test_a_key_is_one_header_with_one_of_the_keys(guard: Any, lines: list[bytes], good: bool) -> None:
    found = guard()("/v1/models", key=lines)
    assert isinstance(found, dict) if good else found == 401


def test_an_engine_that_knows_one_key_serves_callers_with_either(guard: Any) -> None:
    seen = guard(inner="right")("/v1/models", key="older")
    assert [value for name, value in seen["headers"] if name.lower() == b"authorization"] == [b"Bearer right"]
    assert (b"host", b"x") in seen["headers"]


def test_a_row_opens_a_path_with_the_key_and_for_websockets_too(guard: Any) -> None:
    ask = guard(paths=("/tokenize", "/v1/realtime", "/v1/files/{}"))
    assert ask("/tokenize", "POST") == 401 and ask("/detokenize", "POST", "right") == 404
    assert (
        ask("/tokenize", "POST", "right")["path"] == "/tokenize"
        and ask("/v1/files/a", key="right")["path"] == "/v1/files/a"
    )
    assert ask("/v1/realtime", kind="websocket") == 1008 and ask("/v1/realtime", kind="websocket", key="wrong") == 1008
    assert ask("/v1/realtime", kind="websocket", key="right")["type"] == "websocket"
    assert ask("/v1/files/..", key="right") == 404


def test_the_prefix_of_a_proxy_changes_nothing(guard: Any) -> None:
    ask = guard()
    assert ask("/llm/v1/models", key="right", root="/llm")["path"] == "/llm/v1/models"
    assert ask("/v1/models", key="right", root="/v")["path"] == "/v1/models"  # the router strips whole parts alone
    for path, root in (
        ("/llm/invocations", "/llm"),
        ("/v1/models/invocations", "/v1/models"),
        ("/v1/x", "/v1"),
        ("/llm", "/llm"),
    ):
        assert ask(path, key="right", root=root) == 404 and ask(path, root=root) == 401


def test_lifespan_reaches_the_engine(guard: Any) -> None:
    assert guard()("", kind="lifespan")["type"] == "lifespan"


@pytest.mark.parametrize("keys", ["", "\n \n"])
def test_an_empty_key_file_starts_nothing(guard: Any, keys: str) -> None:
    with pytest.raises(ValueError, match="holds no key"):
        guard(keys=keys)


@pytest.mark.parametrize("variable", ["GUARD_PATHS", "GUARD_KEYS"])
def test_an_environment_that_is_lost_starts_nothing(guard: Any, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    set_variable = monkeypatch.setenv
    monkeypatch.setattr(
        monkeypatch, "setenv", lambda name, value: None if name == variable else set_variable(name, value)
    )
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(KeyError, match=variable):
        guard()


@pytest.mark.parametrize(
    "path",
    [
        "tokenize",
        "/tokenize/",
        "/*",
        "/v1/../x",
        "//x",
        "/a b",
        "/a?b",
        "/{id}",
        "/x'",
        "",
        5,
        None,
        "/ä",
        "/.x",
        "/x\n",
        "/%2e",
    ],
)
def test_a_path_that_could_not_be_compared_is_refused_in_the_plan(path: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="'paths' has"):
        record("demo", paths=[path])


@pytest.mark.parametrize("name", ["middleware", "Middleware"])
def test_the_guards_option_is_not_a_rows(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match="open paths with `paths`"):
        record("demo", engine_args={name: ["my.Middleware"]})


def test_a_rows_paths_come_beside_the_usual_ones() -> None:
    assert f.callers_paths(record("demo", paths=["/tokenize", "/metrics"])) == [*PATHS, "/tokenize"]


@pytest.mark.parametrize("row", sorted(p.name for p in (ROOT / "tests/fixtures/rendered").iterdir()))
def test_every_engine_is_started_with_the_guard(row: str) -> None:
    folder = ROOT / "tests/fixtures/rendered" / row
    environment = (folder / "environment").read_text()
    assert 'PYTHONPATH="/config/guard' in environment and "GUARD_KEYS=/run/api_key" in environment
    assert any(line.strip().lstrip("-").startswith("middleware") or "--middleware=vllm_ansible_guard.Guard" in line
               or line.startswith("exec python3 /config/guard/guarded.py ")
               for name in ("serve.yaml", "run") if (folder / name).exists() for line in (folder / name).read_text().splitlines())  # fmt: skip
