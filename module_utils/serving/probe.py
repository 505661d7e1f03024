"""Ask a service the way a user does. The same probe serves deploy, status, upgrade and benchmark.

/health alone lies: an engine can answer it and die at the first token. So a service is good when it is
healthy, lists the served name, and generates text that holds what was expected.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.parse
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


def chat(endpoint: str, key: str | None, model: str, prompt: str, max_tokens: int, timeout: float) -> dict[str, Any]:
    """One streamed chat completion, greedy: {answer, reasoning, first_token_seconds, seconds, tokens, finish}."""
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
    return {
        "answer": text,
        "reasoning": reasoning,
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


def probe(
    endpoint: str,
    served_name: str,
    key: str | None,
    check: dict[str, str] | None,
    timeout: float = 60.0,
    max_tokens: int = 64,
) -> dict[str, Any]:
    """Everything that makes a service good, once. NotYet says what is wrong. Returns what chat() returns."""
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
    result = chat(endpoint, key, served_name, given.get("prompt") or "Say hello.", max_tokens, timeout)
    bad = garbage(result["answer"] or result["reasoning"])
    if bad:
        raise NotYet(bad)
    expect = given.get("expect")
    if expect and expect not in result["answer"]:
        raise NotYet(
            "asked %r, expected %r in the answer, got %r" % (given.get("prompt"), expect, result["answer"][:200])
        )
    return result
