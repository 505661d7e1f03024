"""The probe against a server that answers like vLLM, with its ways to look well and not be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible.module_utils.serving.service import flaggems, probe
from tables import TABLES


class Server:
    """As vLLM 0.32.0 answers: an SSE stream, `reasoning` deltas, counters in the metrics."""

    def __init__(self) -> None:
        self.answer, self.thought, self.finish, self.tokens, self.image = "172", "", "stop", 12.0, "Red."
        self.counts, self.metrics = True, True
        self.asked: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def send(self, body: str, kind: str = "application/json", status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body.encode())

            def do_GET(self) -> None:
                if self.path == "/metrics" and server.metrics:
                    labels = '{engine="0",model_name="m"}'
                    self.send(f"# HELP x\nvllm:generation_tokens_total{labels} {server.tokens}\n", "text/plain")
                elif self.path == "/metrics":
                    self.send("", status=404)
                else:
                    self.send(json.dumps({"data": [{"id": "m"}]}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                shown = isinstance(body["messages"][0]["content"], list)
                parts = [{"reasoning": server.thought}, {"content": server.image if shown else server.answer}]
                server.tokens += 3 if server.counts else 0
                rows: list[dict[str, Any]] = [{"choices": [{"delta": part}]} for part in parts]
                rows += [
                    {"choices": [{"delta": {}, "finish_reason": server.finish}]},
                    {"usage": {"completion_tokens": 3}, "choices": []},
                ]
                self.send(
                    "".join(f"data: {json.dumps(row)}\n\n" for row in rows) + "data: [DONE]\n\n", "text/event-stream"
                )

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def ask(self, **options: Any) -> dict[str, Any]:
        check = {"prompt": "What is 127 + 45?", "expect": "172"}
        return probe.probe(f"http://127.0.0.1:{self.http.server_port}", "m", None, check, 10, **options)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_good_service(server: Server) -> None:
    found = server.ask()
    assert found["answer"] == "172" and found["counted"] is True and found["image"] is None and found["tokens"] == 3
    assert server.asked[0]["max_tokens"] == probe.ANSWER_TOKENS and server.asked[0]["temperature"] == 0


def test_metrics_that_stand_still_are_no_good_service(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "METRICS_WAIT", 0.2)
    server.counts = False
    with pytest.raises(probe.NotYet, match="did not count a token"):
        server.ask()
    server.metrics = False
    assert server.ask()["counted"] is None


@pytest.mark.parametrize(
    ("answer", "thought", "finish", "expected"),
    [
        ("172", "Let me add: 127 + 45 = 172.", "stop", ("172", True)),
        ("<think>\n127 + 45 = 172\n</think>\n\n172", "", "stop", ("172", True)),
        ("127 + 45 is 172, </think> so 172", "", "stop", ("so 172", True)),  # the template has opened the thought
        ("", "I add 127 and 45 and get 172, but", "length", ("", True)),
        ("<think>I add 127 and 45 and get 172, but", "", "length", ("", True)),
    ],
)
def test_thoughts_are_told_from_answers(
    server: Server, answer: str, thought: str, finish: str, expected: tuple[str, bool]
) -> None:
    server.answer, server.thought, server.finish = answer, thought, finish
    found = server.ask(reasoning=True)
    assert (found["answer"], bool(found["reasoning"])) == expected
    assert server.asked[0]["max_tokens"] == probe.THOUGHT_TOKENS


def test_a_thought_that_was_not_cut_does_not_stand_for_an_answer(server: Server) -> None:
    server.answer, server.thought = "171", "It must be 172."
    with pytest.raises(probe.NotYet, match="expected '172'"):
        server.ask(reasoning=True)


def test_a_vision_model_is_shown_an_image(server: Server) -> None:
    assert server.ask(vision=True)["image"] == "Red."
    text, image = server.asked[1]["messages"][0]["content"]
    assert text["type"] == "text" and image["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    server.image = "I can't see images."
    with pytest.raises(probe.NotYet, match="shown a red image"):
        server.ask(vision=True)


def test_operators_are_read_from_both_kinds_of_files() -> None:
    logged = "[DEBUG] flag_gems.ops.mm: GEMS MM\n[DEBUG] flag_gems.fused.rms_norm: GEMS RMS_NORM\n[DEBUG] flag_gems.ops.mm: GEMS MM\n"
    assert flaggems.operators(logged) == ["mm", "rms_norm"]
    assert flaggems.operators("addmm\nsilu_and_mul\n\n") == ["addmm", "silu_and_mul"]
    assert flaggems.operators("cat: /tmp/x: No such file or directory\n") == []


def test_asked_and_active_must_agree(tmp_path: Any) -> None:
    (tmp_path / "tmp").mkdir()
    asked = {"flaggems": True, "container": None}
    assert flaggems.proof({"flaggems": None}, str(tmp_path)) is None
    silent = flaggems.proof(asked, str(tmp_path))
    assert silent and "asked for and not active" in silent["problem"]
    assert flaggems.proof({"flaggems": False}, str(tmp_path)) == {
        "asked": False, "operators": [], "registered": [], "problem": None
    }  # fmt: skip
    (tmp_path / "tmp/gems_oplist.log.txt").write_text("addmm\n")
    (tmp_path / "tmp/gems_registered.txt").write_text("addmm\nmul\n")  # one of them writes no name
    assert flaggems.proof(asked, str(tmp_path)) == {
        "asked": True, "operators": ["addmm"], "registered": ["addmm", "mul"], "problem": None
    }  # fmt: skip
    unasked = flaggems.proof({"flaggems": False}, str(tmp_path))
    assert unasked and "was not asked for" in unasked["problem"]


def test_the_stages_of_a_start_are_told_in_the_engines_own_words() -> None:
    stages = TABLES["engines"]["sglang"]["probe"]["stages"]
    begun = [
        "[2025-11-25 10:00:00] server_args=ServerArgs(model_path='/models/x')",
        "[TP0] Load weight begin. avail mem=78.5 GB",
    ]
    assert probe.stage(begun, stages) == "loading weights" and probe.stage(begun) == "process is starting"
    graphs = [*begun, "Capturing batches (bs=160 avail_mem=9.2 GB):  43%|####      | 10/23"]
    assert probe.stage(graphs, stages) == "capturing graphs 43 %"
    assert probe.stage([*graphs, "The server is fired up and ready to roll!"], stages) == "API is up"


def test_an_answer_with_half_a_character_can_be_written_down() -> None:
    said = json.loads('"hello \\ud83d there \\ud83d\\ude00"')
    assert probe.whole(said) == "hello \ufffd there \U0001f600"
    probe.whole(said).encode()
