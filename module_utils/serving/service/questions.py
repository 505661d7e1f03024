"""A question for each kind of model, and what a right answer to it is: numbers that mean something, not a status 200.

Each function asks once and returns what a report shows, in words; NotYet says what is wrong. Texts are plain English, so that any model of its
kind knows them.
"""

from __future__ import annotations

import io
import json
import math
import operator
import secrets
import struct
import wave
from typing import Any, Callable, Mapping, NamedTuple

from ansible.module_utils.serving.service.exchange import Exchange, NotYet, Raw, number, parse, shown

CAT, KITTEN = "A cat is sleeping on the sofa.", "A kitten naps on the couch."
BANK, PLANT = "The central bank raised its interest rates.", "Plants turn sunlight into sugar."
QUERY, RIGHT = "What is the capital of France?", "Paris is the capital and largest city of France."
WRONG = ("The recipe needs two eggs and a cup of flour.", "The football match ended in a draw.")
NORM = 0.02  # what the norm of a vector may be off: it was computed in bfloat16
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Says what the weather is like in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOL_QUESTION = "What is the weather like in Paris now? Use the tool get_weather."
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "count"],
    "additionalProperties": False,
}
SECONDS, RATE = 1, 16000  # of the sound


class Asked(NamedTuple):
    """Where and whom a question goes to, and what the model's row says of it."""

    endpoint: str
    key: str | None
    model: str
    timeout: float
    check: Mapping[str, Any]
    room: int = 64  # tokens of an answer


def post(to: Asked, path: str, body: Any) -> Any:
    """The JSON of an answer with status 200. NotYet else."""
    with Exchange(to.endpoint, "POST", path, to.key, body, to.timeout) as exchange:
        if exchange.status != 200:
            raise exchange.refusal()
        return parse(exchange.body(), exchange.what)


def odd(path: str, why: str, found: Any) -> NotYet:
    return NotYet("POST %s: %s: %s" % (path, why, shown(found)), steady="odd answer of %s" % path)


def rows_of(found: Any, name: str, path: str, count: int) -> list[dict[str, Any]]:
    """The list of objects that an answer has under a name, as many as were asked for."""
    rows = found.get(name) if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise odd(path, "the answer has no list '%s'" % name, found)
    if len(rows) != count:
        raise odd(path, "it answered %d rows to %d texts" % (len(rows), count), found)
    return rows


def place(row: dict[str, Any]) -> int:
    """Which text a row is about; 0 where it doesn't say."""
    index = row.get("index")
    return index if isinstance(index, int) else 0


def numbers(value: Any, path: str) -> list[float]:
    """A list of finite numbers. NotYet for anything else: NaN is what broken kernels and overflows give."""
    found = [number(one) for one in value] if isinstance(value, list) and value else [None]
    if any(one is None for one in found):
        raise odd(path, "numbers were expected, finite ones, not", value)
    return [one for one in found if one is not None]


def likeness(one: list[float], other: list[float]) -> float:
    """Cosine of the angle between two vectors; 0 where one of them is all zeros."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(map(operator.mul, one, other)) / lengths if lengths else 0.0


def embedding(to: Asked) -> str:
    """Vectors of the right size, finite, of norm 1 where that is promised; alike sentences closer than unlike ones."""
    path, texts = "/v1/embeddings", [CAT, KITTEN, BANK, PLANT]
    rows = rows_of(post(to, path, {"model": to.model, "input": texts}), "data", path, len(texts))
    order = sorted(rows, key=place)
    vectors = [numbers(row.get("embedding"), path) for row in order]
    sizes, wanted = {len(vector) for vector in vectors}, to.check.get("dimensions")
    if len(sizes) != 1 or (wanted and sizes != {int(wanted)}):
        text = "its vectors have %s dimensions, the model's row says %s" % (
            " and ".join(map(str, sorted(sizes))),
            wanted or "one size",
        )
        raise NotYet(text, steady="dimensions")
    norms = [math.hypot(*vector) for vector in vectors]
    if to.check.get("normalized") and any(abs(norm - 1) > NORM for norm in norms):
        raise NotYet(
            "its vectors should have the norm 1 and have %s" % ", ".join("%.3f" % norm for norm in norms), steady="norm"
        )
    near = likeness(vectors[0], vectors[1])
    far = max(likeness(vectors[a], vectors[b]) for a in (0, 1) for b in (2, 3))
    if not near > far:
        text = "it finds %r and %r less alike (%.3f) than sentences about something else (%.3f): damaged weights, or no embedding model"
        raise NotYet(text % (CAT, KITTEN, near, far), steady="likeness")
    return "%d dimensions, norm %.3f; alike %.2f, unlike %.2f" % (sizes.pop(), norms[0], near, far)


def first_is_right(scores: list[float], what: str) -> str:
    """Words about scores of RIGHT and of each of WRONG. NotYet unless the right passage has the highest."""
    others = max(scores[1:])
    if not scores[0] > others:
        text = "asked %r, it gives %r the score %.4f and another passage %.4f: damaged weights, or no %s model"
        raise NotYet(text % (QUERY, RIGHT, scores[0], others, what), steady="order")
    return "the right passage %.3f, another %.3f" % (scores[0], others)


def rerank(to: Asked) -> str:
    """The right passage comes first."""
    path, documents = "/v1/rerank", [WRONG[0], RIGHT, WRONG[1]]
    rows = rows_of(
        post(to, path, {"model": to.model, "query": QUERY, "documents": documents}), "results", path, len(documents)
    )
    scores: dict[Any, float] = {row.get("index"): numbers([row.get("relevance_score")], path)[0] for row in rows}
    if set(scores) != {0, 1, 2}:
        raise odd(path, "its rows don't name the passages 0 to 2", rows)
    words = first_is_right([scores[1], scores[0], scores[2]], "rerank")
    if rows[0].get("index") != 1:
        raise odd(path, "its rows aren't in the order of their scores", rows)
    return words


def score(to: Asked) -> str:
    """The right passage has the highest score."""
    path, texts = "/v1/score", [RIGHT, *WRONG]
    rows = rows_of(post(to, path, {"model": to.model, "text_1": QUERY, "text_2": texts}), "data", path, len(texts))
    order = sorted(rows, key=place)
    return first_is_right([numbers([row.get("score")], path)[0] for row in order], "scoring")


def classify(to: Asked) -> str:
    """A label, and a probability for each of as many as the model has."""
    path, text = "/classify", str(to.check.get("prompt") or "This is the best film that I have seen in years.")
    row = rows_of(post(to, path, {"model": to.model, "input": [text]}), "data", path, 1)[0]
    shares, label = numbers(row.get("probs"), path), row.get("label")
    wanted = to.check.get("labels")
    if wanted and len(shares) != int(wanted):
        raise NotYet("it gives %d labels, the model's row says %s" % (len(shares), wanted), steady="labels")
    if any(not -0.001 <= share <= 1.001 for share in shares):
        raise odd(path, "its probabilities are not between 0 and 1", shares)
    expect = to.check.get("expect")
    if expect and str(expect) != str(label):
        raise NotYet(
            "asked %r, expected the label %r, got %r" % (text, expect, shown(str(label))), steady="label: %s" % label
        )
    return "%s (%.2f of %d labels)" % (shown(str(label), 40), max(shares), len(shares))


def sound() -> bytes:
    """A tone of SECONDS as a WAV file: 16 bit, mono."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        samples = (int(8000 * math.sin(2 * math.pi * 440 * i / RATE)) for i in range(SECONDS * RATE))
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return stream.getvalue()


def transcription(to: Asked) -> str:
    """Text of a sound, in OpenAI's form. A tone has no right text, so that there is one is all that is asked."""
    path, border = "/v1/audio/transcriptions", secrets.token_hex(16)
    fields = {"model": to.model, "response_format": "json", "temperature": "0"}
    parts = [
        '--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (border, name, value)
        for name, value in fields.items()
    ]
    head = (
        '--%s\r\nContent-Disposition: form-data; name="file"; filename="tone.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        % border
    )
    body = "".join(parts).encode() + head.encode() + sound() + ("\r\n--%s--\r\n" % border).encode()
    found = post(to, path, Raw("multipart/form-data; boundary=%s" % border, body))
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise odd(path, "the answer has no text", found)
    return "a tone became %r" % shown(text, 60)


def completion(to: Asked) -> str:
    """The text that follows a beginning."""
    path = "/v1/completions"
    body = {
        "model": to.model,
        "prompt": str(to.check.get("prompt") or "Once upon a time"),
        "max_tokens": to.room,
        "temperature": 0,
    }
    choices = rows_of(post(to, path, body), "choices", path, 1)
    text = choices[0].get("text")
    if not isinstance(text, str):
        raise odd(path, "the answer has no text", choices)
    return text


def message(to: Asked, question: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """The whole message that answers a question, not streamed."""
    path = "/v1/chat/completions"
    body = {
        "model": to.model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": to.room,
        **more,
    }
    found = rows_of(post(to, path, body), "choices", path, 1)[0].get("message")
    if not isinstance(found, dict):
        raise odd(path, "the answer has no message", found)
    return found


def tools(to: Asked) -> str:
    """A tool is offered and asked for: the call must come as a call, with arguments that are JSON."""
    found = message(to, TOOL_QUESTION, {"tools": [WEATHER], "tool_choice": "auto"})
    calls = found.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        said = shown(found.get("content"))
        why = (
            "the parser (engine_args.tool_call_parser) is not the one of this model"
            if "get_weather" in said
            else "it called none"
        )
        raise NotYet("asked to use a tool, %s; it answered %s" % (why, said), steady="no call: " + said)
    called = calls[0].get("function") if isinstance(calls[0], dict) else None
    if not isinstance(called, dict) or called.get("name") != "get_weather":
        raise odd("/v1/chat/completions", "it called another tool than the one that was offered", calls)
    given = called.get("arguments")
    try:
        city = json.loads(given)["city"] if isinstance(given, str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        city = None
    if not isinstance(city, str):
        raise odd("/v1/chat/completions", "the arguments of its call are no JSON with a city", given)
    return "called get_weather(%s)" % shown(city, 40)


def structured(to: Asked) -> str:
    """A schema is given: the answer must be JSON that obeys it."""
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True}}
    said = message(to, "Name a thing and how many there are.", {"response_format": form}).get("content")
    try:
        found = json.loads(said) if isinstance(said, str) else None
    except (ValueError, RecursionError):
        found = None
    count = found.get("count") if isinstance(found, dict) and set(found) == {"name", "count"} else None
    if isinstance(count, bool) or not isinstance(count, int) or not isinstance((found or {}).get("name"), str):
        raise NotYet(
            "given a JSON schema, it answered %s: structured output does not work" % shown(said), steady="schema"
        )
    return str(shown(said, 60))


# What is asked of a kind that does not chat, and beyond the kind's own question.
KINDS: dict[str, Callable[[Asked], str]] = {
    "completion": completion,
    "embedding": embedding,
    "rerank": rerank,
    "score": score,
    "classify": classify,
    "transcription": transcription,
}
MORE: dict[str, Callable[[Asked], str]] = {"tools": tools, "structured": structured}
# The engine's counters of work, by kind: pooling models generate nothing.
COUNTED = {
    "chat": "generation_tokens",
    "vision": "generation_tokens",
    "completion": "generation_tokens",
    "transcription": "generation_tokens",
}
