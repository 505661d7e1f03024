"""Ask a service the way a user does. The same probe serves deploy, status, upgrade and benchmark.

/health alone lies: an engine can answer it and die at the first token. So a service is good when it is
healthy, lists the served name, generates text that holds what was expected, counts the tokens in its metrics,
and, for a vision model, says what is on an image.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import struct
import time
import urllib.parse
import zlib
from typing import Any

STAGES = (
    # Newest first: what the log shows of a start, in vLLM's words.
    (r"Application startup complete|Uvicorn running", "API is up"),
    (r"(?:Capturing|capturing) .*graphs?.*?(\d+)%", "capturing graphs {0} %"),
    (r"Compiling a graph|Dynamo bytecode transform", "compiling"),
    (r"KV cache size|init engine", "KV cache is there"),
    (r"checkpoint shards:\s+\d+% Completed \| (\d+/\d+)", "loading shards {0}"),
    (r"Starting to load model", "loading weights"),
    (r"Initializing a V1 LLM engine", "engine is starting"),
    (r"non-default args", "reading the configuration"),
)


# A model that thinks first needs room for it; the text of a thought counts where the room was too small for an answer.
ANSWER_TOKENS, THOUGHT_TOKENS = 64, 1024
IMAGE_QUESTION, IMAGE_ANSWER = "Which colour fills this image? Answer with one word.", "red"
METRICS_WAIT = 3.0  # seconds in which counted tokens must show


class NotYet(Exception):
    """The service does not answer as it should; the text says what it did instead."""


def stage(lines: list[str]) -> str:
    """The stage of a start that the log's last lines show."""
    text = "\n".join(lines)
    for pattern, words in STAGES:
        found = re.findall(pattern, text)
        if found:
            return words.format(found[-1]) if "{0}" in words else words
    return "process is starting"


def connect(endpoint: str, timeout: float) -> http.client.HTTPConnection:
    url = urllib.parse.urlsplit(endpoint)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    host = url.hostname or ""
    # A service that listens everywhere is asked here.
    return kind({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), url.port, timeout=timeout)  # noqa: S104


def ask(
    endpoint: str, method: str, path: str, key: str | None, body: Any = None, timeout: float = 30.0
) -> tuple[int, bytes]:
    """One request: (status, body). NotYet if there is no answer."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = "Bearer " + key
    connection = connect(endpoint, timeout)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except TimeoutError:
        raise NotYet("%s %s: no answer within %d s" % (method, path, timeout)) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotYet("%s %s: %s" % (method, path, error or type(error).__name__)) from None
    finally:
        connection.close()


def models(endpoint: str, key: str | None, timeout: float = 30.0) -> list[str]:
    """Names that /v1/models lists."""
    status, body = ask(endpoint, "GET", "/v1/models", key, timeout=timeout)
    if status != 200:
        raise NotYet("GET /v1/models: HTTP %d%s" % (status, ", the API key is refused" if status == 401 else ""))
    try:
        return [str(row["id"]) for row in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        raise NotYet("GET /v1/models: the answer is no list of models: %r" % body[:200]) from None


def generated_tokens(endpoint: str, key: str | None, timeout: float) -> float | None:
    """vLLM's counter of generated tokens, over all its engines; None where the engine has no such metrics."""
    status, body = ask(endpoint, "GET", "/metrics", key, timeout=timeout)
    found = re.findall(
        rb"(?m)^vllm:generation_tokens_total(?:\{[^}]*\})? ([0-9.eE+]+)$", body if status == 200 else b""
    )
    return sum(float(value) for value in found) if found else None


def red_image(size: int = 224) -> str:
    """A red square as a data URL: a PNG of size x size pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xe0\x10\x10" * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


def split_thought(text: str) -> tuple[str, str]:
    """(thought, answer) of a text in which the engine left `<think>...</think>` standing."""
    thought, end, answer = text.rpartition("</think>")
    if end:
        return thought.replace("<think>", "").strip(), answer.strip()
    if text.lstrip().startswith("<think>"):
        return text.replace("<think>", "").strip(), ""
    return "", text


def chat(
    endpoint: str, key: str | None, model: str, prompt: str | list[dict[str, Any]], max_tokens: int, timeout: float
) -> dict[str, Any]:
    """One streamed chat completion, greedy: {answer, reasoning, first_token_seconds, seconds, tokens, finish}.

    `prompt` is a text, or parts of a message such as a text and an image.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if key:
        headers["Authorization"] = "Bearer " + key
    connection = connect(endpoint, timeout)
    began = time.monotonic()
    text, reasoning, first, tokens, finish = "", "", None, None, None
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise NotYet(
                "POST /v1/chat/completions: HTTP %d: %s" % (answer.status, answer.read(400).decode("utf-8", "replace"))
            )
        done = False
        for raw in answer:
            if time.monotonic() - began > timeout:
                raise NotYet("POST /v1/chat/completions: not finished within %d s" % timeout)
            line = raw.decode("utf-8", "replace").strip()
            if not line.startswith("data:"):
                continue
            data = line[5:].strip()
            if data == "[DONE]":
                done = True
                break
            event = json.loads(data)
            if "error" in event:
                raise NotYet("POST /v1/chat/completions: %s" % str(event["error"])[:400])
            if event.get("usage"):
                tokens = event["usage"].get("completion_tokens")
            for choice in event.get("choices", []):
                delta = choice.get("delta", {})
                thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
                if (delta.get("content") or thought) and first is None:
                    first = time.monotonic() - began
                text += delta.get("content") or ""
                reasoning += thought
                finish = choice.get("finish_reason") or finish
        if not done:
            raise NotYet("POST /v1/chat/completions: the stream was cut after %r" % text[-80:])
    except TimeoutError:
        raise NotYet("POST /v1/chat/completions: no token within %d s" % timeout) from None
    except ValueError as error:
        raise NotYet("POST /v1/chat/completions: not JSON (%s)" % error) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotYet("POST /v1/chat/completions: %s" % (error or type(error).__name__)) from None
    finally:
        connection.close()
    thought, text = split_thought(text)
    return {
        "answer": text,
        "reasoning": reasoning or thought,
        "first_token_seconds": round(first, 3) if first is not None else None,
        "seconds": round(time.monotonic() - began, 3),
        "tokens": tokens,
        "finish": finish,
    }


def garbage(text: str) -> str | None:
    """Why a text is no answer at all: empty, or one character over and over (a sign of damaged weights or overflow)."""
    stripped = text.strip()
    if not stripped:
        return "the answer is empty"
    if len(stripped) >= 8 and len(set(stripped)) == 1:
        return "the answer is %r over and over: damaged weights or a number overflow" % stripped[0]
    return None


def look_at_image(endpoint: str, key: str | None, model: str, timeout: float) -> str:
    """What a vision model says about a red square. NotYet unless it says so."""
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": IMAGE_QUESTION},
        {"type": "image_url", "image_url": {"url": red_image()}},
    ]
    result = chat(endpoint, key, model, parts, ANSWER_TOKENS, timeout)
    said = str(result["answer"] or result["reasoning"])
    if IMAGE_ANSWER not in said.lower():
        raise NotYet("shown a red image and asked %r, it answered %r" % (IMAGE_QUESTION, said[:200]))
    return said


def probe(
    endpoint: str,
    served_name: str,
    key: str | None,
    check: dict[str, str] | None,
    timeout: float = 60.0,
    reasoning: bool = False,
    vision: bool = False,
) -> dict[str, Any]:
    """Everything that makes a service good, once. NotYet says what is wrong.

    Returns what chat() returns, `counted` (did the metrics advance? None: it has none) and `image` (what it said of one).
    """
    status, _ = ask(endpoint, "GET", "/health", key, timeout=min(timeout, 10.0))
    if status != 200:
        raise NotYet("GET /health: HTTP %d" % status)
    listed = models(endpoint, key, min(timeout, 30.0))
    if served_name not in listed:
        raise NotYet(
            "GET /v1/models lists %s, not '%s'; another service answers on this port"
            % (", ".join(listed) or "nothing", served_name)
        )
    given = check or {}
    before = generated_tokens(endpoint, key, min(timeout, 10.0))
    room = THOUGHT_TOKENS if reasoning else ANSWER_TOKENS
    result = chat(endpoint, key, served_name, given.get("prompt") or "Say hello.", room, timeout)
    said = str(result["answer"] or result["reasoning"])
    bad = garbage(said)
    if bad:
        raise NotYet(bad)
    expect = given.get("expect")
    if expect and expect not in (said if result["finish"] == "length" else result["answer"]):
        raise NotYet("asked %r, expected %r in the answer, got %r" % (given.get("prompt"), expect, said[:200]))
    until = time.monotonic() + METRICS_WAIT
    after = before
    while before is not None and not (after or 0) > before:
        if time.monotonic() > until:
            raise NotYet("it answered, and its metrics did not count a token: its engine is not the one that answers")
        after = generated_tokens(endpoint, key, min(timeout, 10.0))
    image = look_at_image(endpoint, key, served_name, timeout) if vision else None
    return dict(result, counted=None if before is None else True, image=image)
