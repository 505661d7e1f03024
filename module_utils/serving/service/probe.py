"""Ask a service the way a user does. The same probe serves deploy, status, upgrade and benchmark.

/health alone lies: an engine can answer it and die at the first token. So a service is good when it is
healthy, lists its names, answers the question of its kind (questions.py) or generates text that holds what was expected, counts
the tokens in its metrics, and, for a vision model, says what is on an image.
"""

from __future__ import annotations

import re
import time
from typing import Any, Iterator

from ansible.module_utils.serving.service.exchange import SHOWN, Exchange, NotYet, number, parse, shown
from ansible.module_utils.serving.service.picture import red_image
from ansible.module_utils.serving.service.questions import COUNTED, KINDS, MORE, Asked

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
EVENT = 512 * 1024  # bytes of one event of a stream
METRICS_WAIT = 3.0  # seconds in which counted tokens must show


def stage(lines: list[str], stages: dict[str, str] | None = None) -> str:
    """The stage of a start that the log's last lines show. `stages` are of another engine: {words: regular expression}, newest first."""
    text = "\n".join(lines)
    for pattern, words in [(pattern, words) for words, pattern in stages.items()] if stages else STAGES:
        found = re.findall(pattern, text)
        if found:
            return words.format(found[-1]) if "{0}" in words else words
    return "process is starting"


def ask(
    endpoint: str, method: str, path: str, key: str | None, body: Any = None, timeout: float = 30.0
) -> tuple[int, bytes]:
    """One request: (status, body). NotYet if there is no answer, or no end of it, within `timeout` seconds."""
    with Exchange(endpoint, method, path, key, body, timeout) as exchange:
        return exchange.status, exchange.body()


def get(endpoint: str, path: str, key: str | None, timeout: float) -> bytes:
    """The body of an answer with status 200; NotYet else."""
    with Exchange(endpoint, "GET", path, key, None, timeout) as exchange:
        if exchange.status != 200:
            raise exchange.refusal()
        body: bytes = exchange.body()
        return body


def models(endpoint: str, key: str | None, timeout: float = 30.0) -> list[str]:
    """Names that /v1/models lists."""
    body = get(endpoint, "/v1/models", key, timeout)
    found = parse(body, "GET /v1/models")
    rows = found.get("data") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        raise NotYet("GET /v1/models: the answer is no list of models: %s" % shown(body), steady="no list of models")
    return [row["id"] for row in rows]


TOKENS = "vllm:generation_tokens_total"  # vLLM's counter


def counted_tokens(endpoint: str, key: str | None, timeout: float, name: str = TOKENS) -> float | None:
    """The counter of tokens of this name, over all engines behind the endpoint; None where it has no such metrics."""
    counter = re.compile(rb"(?m)^%s(?:\{[^}\n]*\})? (\S+)" % re.escape(name).encode())
    with Exchange(endpoint, "GET", "/metrics", key, None, timeout) as exchange:
        found = counter.findall(exchange.body()) if exchange.status == 200 else []
    total = 0.0
    for text in found:
        value = number(text)
        if value is None:
            raise NotYet("GET /metrics: the counter of tokens is no number: %s" % shown(text), steady="odd metrics")
        total += value
    return total if found else None


def split_thought(text: str) -> tuple[str, str]:
    """(thought, answer) of a text in which the engine left `<think>...</think>` standing."""
    thought, end, answer = text.rpartition("</think>")
    if end:
        return thought.replace("<think>", "").strip(), answer.strip()
    if text.lstrip().startswith("<think>"):
        return text.replace("<think>", "").strip(), ""
    return "", text


def events(exchange: Exchange) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer, to its `[DONE]`. NotYet for anything else that a server may send."""
    line, seen, said, done = b"", False, b"", False
    for piece in exchange.pieces():
        *lines, line = (line + piece).split(b"\n")
        if len(line) > EVENT:
            raise NotYet(
                "%s: an event of the stream is longer than %d KiB" % (exchange.what, EVENT // 1024), steady="too long"
            )
        said = (said + piece)[:SHOWN] if not seen else said
        for raw in lines:
            if not raw.startswith(b"data:"):
                continue
            data, seen = raw[5:].strip(), True
            if data == b"[DONE]":
                done = True
                break
            event = parse(data, exchange.what)
            if not isinstance(event, dict):
                raise NotYet(
                    "%s: an event of the stream is no object: %s" % (exchange.what, shown(data)), steady="odd event"
                )
            yield event
        if done:
            return
    if not seen:
        text = "%s: no stream of events but %s: %s"
        raise NotYet(
            text % (exchange.what, exchange.kind or "no content type", shown(said) or "nothing"), steady="no stream"
        )
    raise NotYet("%s: the stream was cut after %s" % (exchange.what, shown(data, 80)))


def spoken(value: Any, what: str) -> str:
    """Text of an event; null says nothing."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NotYet("%s: text was expected in an event, not %s" % (what, shown(value)), steady="odd event")
    return whole(value)


def whole(text: str) -> str:
    """A text that can be written down: halves of characters, which JSON may hold and UTF-8 may not, are shown as what is no text."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def chat(
    endpoint: str, key: str | None, model: str, prompt: str | list[dict[str, Any]], max_tokens: int, timeout: float
) -> dict[str, Any]:
    """One streamed chat completion, greedy: {answer, reasoning, first_token_seconds, seconds, tokens, finish}.

    `prompt` is a text, or parts of a message such as a text and an image. `timeout` is for all of it.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = time.monotonic()
    text, reasoning, first, tokens, finish = "", "", None, None, None
    with Exchange(endpoint, "POST", "/v1/chat/completions", key, body, timeout, stream=True) as exchange:
        if exchange.status != 200:
            raise exchange.refusal()
        for event in events(exchange):
            if event.get("error"):
                raise NotYet("%s: %s" % (exchange.what, shown(event["error"], 400)), steady="error in the stream")
            usage = event.get("usage")
            if isinstance(usage, dict) and number(usage.get("completion_tokens")) is not None:
                tokens = int(number(usage["completion_tokens"]) or 0)
            choices = event.get("choices")
            for choice in choices if isinstance(choices, list) else []:
                delta = choice.get("delta") if isinstance(choice, dict) else None
                if not isinstance(delta, dict):
                    continue  # null: nothing is said
                thought = spoken(delta.get("reasoning") or delta.get("reasoning_content"), exchange.what)
                content = spoken(delta.get("content"), exchange.what)
                if (content or thought) and first is None:
                    first = time.monotonic() - began
                text += content
                reasoning += thought
                finish = choice["finish_reason"] if isinstance(choice.get("finish_reason"), str) else finish
    inline, text = split_thought(text)
    thought = inline
    return {
        "answer": text,
        "inline": bool(inline),
        "reasoning": reasoning or thought,
        "first_token_seconds": round(first, 3) if first is not None else None,
        "seconds": round(time.monotonic() - began, 3),
        "tokens": tokens,
        "finish": finish,
    }


UNIT, TIMES = 16, 8  # a piece of at most so many characters, so often in a row, is no language


def garbage(text: str) -> str | None:
    """Why a text is no answer at all: empty, or one piece over and over (a sign of damaged weights, kernels that fail or overflow)."""
    stripped = text.strip()
    if not stripped:
        return "the answer is empty"
    for length in range(1, UNIT + 1):
        # The last piece may be cut, and a first word may stand before.
        tail = stripped[len(stripped) // 4 :]
        if len(tail) >= max(6, length * TIMES) and tail[length:] == tail[:-length]:
            piece = tail[:length]
            return (
                "the answer is %r over and over: damaged weights, kernels that fail (FlagGems?) or a number overflow"
                % piece
            )
    letters = [char for char in stripped if char.isprintable() and not char.isspace()]
    if stripped.count("\ufffd") * 2 > len(letters) or not letters:
        return "the answer is no text: damaged weights or another model's tokenizer"
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
        text = "shown a red image and asked %r, it answered %r" % (IMAGE_QUESTION, shown(said))
        raise NotYet(text, steady="image: " + said)
    return said


def talk(to: Asked, reasoning: bool) -> dict[str, Any]:
    """One chat whose answer is language and holds what was expected: what chat() returns."""
    room = THOUGHT_TOKENS if reasoning else ANSWER_TOKENS
    prompt, expect = to.check.get("prompt"), to.check.get("expect")
    result = chat(to.endpoint, to.key, to.model, prompt or "Say hello.", room, to.timeout)
    said = str(result["answer"] or result["reasoning"])
    bad = garbage(said)
    if bad:
        raise NotYet(bad, steady="garbage")
    if expect and expect not in (said if result["finish"] == "length" else result["answer"]):
        text = "asked %r, expected %r in the answer, got %r" % (prompt, expect, shown(said))
        raise NotYet(text, steady="answer: " + said)
    if to.check.get("thought") and result["inline"]:
        text = "its thought stands in the answer: engine_args.reasoning_parser is not the parser of this model"
        raise NotYet(text, steady="thought in the answer")
    return result


def other_question(to: Asked, kind: str) -> dict[str, Any]:
    """The question of a kind that does not chat, in the form of chat()."""
    began = time.monotonic()
    said = whole(KINDS[kind](to))
    expect = to.check.get("expect")
    bad = garbage(said) if kind == "completion" else None
    if bad:
        raise NotYet(bad, steady="garbage")
    if kind == "completion" and expect and expect not in said:
        raise NotYet(
            "after %r it was expected to say %r, it said %r" % (to.check.get("prompt"), expect, shown(said)),
            steady="answer: " + said,
        )
    return {
        "answer": said,
        "inline": False,
        "reasoning": "",
        "first_token_seconds": None,
        "seconds": round(time.monotonic() - began, 3),
        "tokens": None,
        "finish": None,
    }


def adapted(to: Asked, kind: str, reasoning: bool) -> str:
    """What an adapter answers, asked by its name as its base model is."""
    found = other_question(to, kind) if kind in KINDS else talk(to, reasoning)
    return str(found["answer"] or found["reasoning"])


def probe(
    endpoint: str,
    served_name: str,
    key: str | None,
    check: dict[str, Any] | None,
    timeout: float = 60.0,
    reasoning: bool = False,
    vision: bool = False,
    tokens: str = TOKENS,
) -> dict[str, Any]:
    """Everything that makes a service good, once. NotYet says what is wrong.

    `tokens` is the name of the engine's counter of generated tokens. `check`: the row's question with its kind (planning/engine_models.py,
    question). Returns what chat() returns, `counted` (did the metrics advance? None: it has none), `image` (what it said of one) and `more`
    ({question: what was answered}).
    """
    get(endpoint, "/health", key, min(timeout, 10.0))
    listed = models(endpoint, key, min(timeout, 30.0))
    given = dict(check or {})
    for name in (served_name, *given.get("names", ()), *given.get("adapters", ())):
        if name not in listed:
            raise NotYet(
                "GET /v1/models lists %s, not '%s'; %s"
                % (
                    shown(", ".join(listed)) or "nothing",
                    name,
                    "the adapter is not loaded"
                    if name in given.get("adapters", ())
                    else "another service answers on this port",
                ),
                steady="other name",
            )
    kind = given.get("kind") or "chat"
    to = Asked(endpoint, key, served_name, timeout, given, THOUGHT_TOKENS if reasoning else ANSWER_TOKENS)
    counter = tokens.replace("generation_tokens", COUNTED.get(kind, "prompt_tokens"))
    before = counted_tokens(endpoint, key, min(timeout, 10.0), counter)
    result = other_question(to, kind) if kind in KINDS else talk(to, reasoning)
    until = time.monotonic() + METRICS_WAIT
    after = before
    while before is not None and not (after or 0) > before:
        if time.monotonic() > until:
            text = "it answered, and its metrics did not count a token: its engine is not the one that answers"
            raise NotYet(text, steady="metrics stand still")
        after = counted_tokens(endpoint, key, min(timeout, 10.0), counter)
    more = {name: MORE[name](to) for name in given.get("more", ())}
    for name in given.get("adapters", ()):
        more[name] = adapted(to._replace(model=name, check={}), kind, reasoning)
    look = kind == "vision" or (vision and kind == "chat")
    image = look_at_image(endpoint, key, served_name, timeout) if look else None
    return dict(result, counted=None if before is None else True, image=image, more=more)
