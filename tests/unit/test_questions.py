"""Each kind's own question against a server that answers as vLLM 0.32 does, and against answers that look well and are not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible.module_utils.serving.service import probe, questions
from ansible.module_utils.serving.service.exchange import NotYet
from conftest import load
from tables import small

CALL = {"tool_calls": [{"function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}], "content": None}
BROKEN = {"tool_calls": [{"function": {"name": "get_weather", "arguments": "{'city"}}]}
NEAR, FAR = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
GOOD: dict[str, Any] = {
    "/v1/embeddings": {"data": [{"index": 2, "embedding": FAR}, {"index": 0, "embedding": NEAR}, {"index": 1, "embedding": [0.8, 0.0, 0.6]},
                                {"index": 3, "embedding": [0.0, 0.6, -0.8]}]},
    "/v1/rerank": {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}, {"index": 2, "relevance_score": 0.1}]},
    "/v1/score": {"data": [{"index": 0, "score": 0.9}, {"index": 1, "score": 0.2}, {"index": 2, "score": 0.1}]},
    "/classify": {"data": [{"index": 0, "label": "joy", "probs": [0.9, 0.1]}]},
    "/v1/audio/transcriptions": {"text": "beep"},
    "/v1/completions": {"choices": [{"text": ", there was a king."}]},
    "/v1/chat/completions": {"choices": [{"message": CALL}]},
}  # fmt: skip


class Engine:
    """A server with one answer for each path."""

    def __init__(self) -> None:
        self.answers, self.counted, self.bodies = json.loads(json.dumps(GOOD)), 5, dict[str, bytes]()
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def send(self, body: bytes) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self.send(f"vllm:prompt_tokens_total {engine.counted}\nvllm:generation_tokens_total 0\n".encode())
                else:
                    self.send(b'{"data": [{"id": "m"}, {"id": "second"}]}')

            def do_POST(self) -> None:
                engine.bodies[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                engine.counted += 3
                self.send(json.dumps(engine.answers[self.path]).encode())

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"

    def ask(self, question: Any, **check: Any) -> str:
        return str(question(questions.Asked(self.endpoint, None, "m", 10, check)))


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_right_answers(engine: Engine) -> None:
    assert (
        engine.ask(questions.embedding, dimensions=3, normalized=True)
        == "3 dimensions, norm 1.000; alike 0.80, unlike 0.00"
    )
    assert engine.ask(questions.rerank) == engine.ask(questions.score) == "the right passage 0.900, another 0.200"
    assert engine.ask(questions.classify, labels=2, expect="joy").startswith("joy (0.90 of 2")
    assert engine.ask(questions.transcription) == "a tone became 'beep'"
    assert engine.ask(questions.tools) == "called get_weather(Paris)"
    form = engine.bodies["/v1/audio/transcriptions"]
    assert b'name="model"\r\n\r\nm\r\n' in form and b"RIFF" in form and b"WAVEfmt" in form
    engine.answers["/v1/chat/completions"] = {"choices": [{"message": {"content": '{"name": "cup", "count": 3}'}}]}
    assert "cup" in engine.ask(questions.structured)


CHAT = "/v1/chat/completions"
VECTORS = "/v1/embeddings"
WRONG: list[tuple[Any, dict[str, Any], str, Any, str]] = [
    (questions.embedding, {"dimensions": 384}, VECTORS, GOOD[VECTORS], "its vectors have 3 dimensions, the model's row says 384"),
    (questions.embedding, {"normalized": True}, VECTORS, {"data": [{"index": i, "embedding": [3.0, float(i)]} for i in range(4)]}, "should have the norm 1"),
    (questions.embedding, {}, VECTORS, {"data": [{"index": i, "embedding": [1.0, 1.0]} for i in range(4)]}, "less alike"),
    (questions.embedding, {}, VECTORS, {"data": [{"index": i, "embedding": [0.0, 0.0]} for i in range(4)]}, "less alike"),
    (questions.embedding, {}, VECTORS, {"data": [{"index": i, "embedding": [float("nan")]} for i in range(4)]}, "finite"),
    (questions.embedding, {}, VECTORS, {"data": [{"index": 0, "embedding": NEAR}]}, "1 rows to 4 texts"),
    (questions.embedding, {}, VECTORS, {"data": [{"index": i, "embedding": "AAAA"} for i in range(4)]}, "finite"),
    (questions.embedding, {}, VECTORS, {"data": [{"index": i, "embedding": [1.0] * (i + 1)} for i in range(4)]}, "1 and 2 and 3 and 4 dimensions"),
    (questions.embedding, {}, VECTORS, [], "no list 'data'"),
    (questions.rerank, {}, "/v1/rerank", {"results": [{"index": i, "relevance_score": 0.5} for i in range(3)]}, "damaged weights"),
    (questions.rerank, {}, "/v1/rerank", {"results": list(reversed(GOOD["/v1/rerank"]["results"]))}, "aren't in the order"),
    (questions.rerank, {}, "/v1/rerank", {"results": [{"index": 1, "relevance_score": 0.5}] * 3}, "don't name the passages"),
    (questions.score, {}, "/v1/score", {"data": [{"index": i, "score": i} for i in range(3)]}, "damaged weights"),
    (questions.classify, {"labels": 3}, "/classify", GOOD["/classify"], "2 labels, the model's row says 3"),
    (questions.classify, {"expect": "anger"}, "/classify", GOOD["/classify"], "expected the label 'anger', got 'joy'"),
    (questions.classify, {}, "/classify", {"data": [{"label": "x", "probs": [7.5, -2]}]}, "not between 0 and 1"),
    (questions.transcription, {}, "/v1/audio/transcriptions", {"text": None}, "has no text"),
    (questions.tools, {}, CHAT, {"choices": [{"message": {"content": '<tool_call>{"name": "get_weather"}'}}]}, "is not the one of this model"),
    (questions.tools, {}, "/v1/chat/completions", {"choices": [{"message": {"content": "It is sunny."}}]}, "it called none"),
    (questions.tools, {}, CHAT, {"choices": [{"message": {"tool_calls": [{"function": {"name": "rm", "arguments": "{}"}}]}}]}, "another tool"),
    (questions.tools, {}, "/v1/chat/completions", {"choices": [{"message": BROKEN}]}, "no JSON"),
    (questions.structured, {}, "/v1/chat/completions", {"choices": [{"message": {"content": "a cup"}}]}, "structured output does not work"),
    (questions.structured, {}, CHAT, {"choices": [{"message": {"content": '{"name": "a", "count": true}'}}]}, "structured output does not work"),
    (questions.completion, {}, "/v1/completions", {"choices": [{}]}, "has no text"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "check", "path", "answer", "words"), WRONG, ids=[f"{row[0].__name__}: {row[4]}" for row in WRONG]
)
def test_wrong_answers(
    engine: Engine, question: Any, check: dict[str, Any], path: str, answer: Any, words: str
) -> None:
    engine.answers[path] = answer
    with pytest.raises(NotYet, match=words) as seen:
        engine.ask(question, **check)
    assert seen.value.steady


def test_a_probe_asks_what_the_kind_says_and_every_name(engine: Engine) -> None:
    check = {"kind": "embedding", "dimensions": 3, "normalized": True, "names": ["second"]}
    found = probe.probe(engine.endpoint, "m", None, check, 10)
    assert (
        found["answer"].startswith("3 dimensions") and found["counted"] is True and found["first_token_seconds"] is None
    )
    with pytest.raises(NotYet, match="not 'third'"):
        probe.probe(engine.endpoint, "m", None, {**check, "names": ["third"]}, 10)
    found = probe.probe(engine.endpoint, "m", None, {"kind": "rerank", "more": ["tools"]}, 10)
    assert found["more"] == {"tools": "called get_weather(Paris)"}
    engine.answers["/v1/completions"] = {"choices": [{"text": "!!!!!!!!!!!!!!!!"}]}
    with pytest.raises(NotYet, match="over and over"):
        probe.probe(engine.endpoint, "m", None, {"kind": "completion"}, 10)


def test_paths_that_a_kind_needs_are_open() -> None:
    callers_paths = load("filter_plugins/guard.py").callers_paths

    def paths(check: Any) -> set[str]:
        return set(callers_paths({"paths": [], "engine_facts": {"paths": ["/v1/models"]}, "check": check}))

    assert "/classify" in paths({"kind": "classify"}) and "/classify" not in paths(None)
    assert {"/rerank", "/v2/rerank", "/score"} <= paths({"kind": "rerank"})


PLAN = load("filter_plugins/plan.py")
BOARD = {"vendor": "cpu", "engine": "vllm", "runtime": "native", "engine_args": {"kv_cache_memory_bytes": 1 << 28}}
LOCKS = {"vllm": {"file": "vllm-cpu.lock"}}


def planned(model: dict[str, Any], **row: Any) -> Any:
    models = {"m": {"sources": {"directory": {"path": "/m"}}, "bytes": 1, "license": "mit", **model}}
    services = {"s": {"model": "m", "port": 8000, **row}}
    return PLAN.planned(["s"], **small(services, models, BOARD), locks=LOCKS)


def test_what_is_asked_follows_from_the_models_row() -> None:
    embedding = {"kind": "embedding", "dimensions": 384, "normalized": True, "architecture": "BertModel"}
    assert planned(embedding)["services"][0]["check"] == {"kind": "embedding", "dimensions": 384, "normalized": True}
    assert planned(embedding, check={"kind": "score"})["services"][0]["check"] == {"kind": "score"}
    assert planned({})["services"][0]["check"] is None  # releases of chat services stay what they are
    args = {"tool_call_parser": "hermes", "enable_auto_tool_choice": True, "reasoning_parser": "qwen3"}
    check = planned({}, engine_args=args, asks=["structured"], aliases=["gpt-4"])["services"][0]["check"]
    assert check == {"more": ["tools", "structured"], "thought": True, "names": ["gpt-4"]}


@pytest.mark.parametrize(
    "given",
    [["sql=/a", "chat=/b"], '[{"name": "sql", "path": "/a"}, {"name": "chat", "path": "/b"}]', "sql=/a chat=/b"],
)
def test_each_adapter_is_asked_by_its_name(engine: Engine, given: Any) -> None:
    check = planned({"kind": "embedding"}, engine_args={"enable_lora": True, "lora_modules": given})["services"][0][
        "check"
    ]
    assert check == {"kind": "embedding", "adapters": ["sql", "chat"]}
    found = probe.probe(engine.endpoint, "m", None, {"kind": "embedding", "adapters": ["second"]}, 10)
    assert found["more"]["second"].startswith("3 dimensions")
    with pytest.raises(NotYet, match="not 'sql'; the adapter is not loaded"):
        probe.probe(engine.endpoint, "m", None, check, 10)


@pytest.mark.parametrize(
    ("model", "row", "words"),
    [
        ({"kind": "embedding"}, {"check": {"kind": "chat"}}, "check.kind is 'chat', but model 'm' is for embedding; use one of embedding, rerank, score"),
        ({"kind": "embedding"}, {"engine_args": {"runner": "generate"}}, "engine_args.runner is generate, but model 'm' is for embedding"),
        ({}, {"engine_args": {"runner": "pooling"}}, "engine_args.runner is pooling, but model 'm' is for chat"),
        ({"kind": "rerank"}, {"engine_args": {"tool_call_parser": "hermes"}}, "is for models that answer in words"),
        ({}, {"check": {"kind": "vision"}}, "takes no images"),
        ({"kind": "chats"}, {}, "'kind' is 'chats'; did you mean 'chat'"),
        ({}, {"asks": ["tool"]}, "'asks' is 'tool'; did you mean 'tools'"),
        ({}, {"engine_args": {"tool_call_parser": "hermess"}}, "which vLLM 0.32.0 does not have; it has"),
        ({"architecture": "NoSuchForCausalLM"}, {}, "vLLM 0.32.0 does not know the architecture NoSuchForCausalLM of model 'm'; none of the versions"),
        ({"architecture": "MotifForCausalLM"}, {}, "vLLM 0.10.2"),
    ],
)  # fmt: skip
def test_a_wrong_kind_is_an_error_of_the_plan(model: dict[str, Any], row: dict[str, Any], words: str) -> None:
    assert any(words in fault for fault in planned(model, **row)["faults"]), planned(model, **row)["faults"]
