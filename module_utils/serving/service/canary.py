"""Ask a running service what a verdict needs: greedy answers with their probabilities, and probabilities of given tokens.

Every sampling field is sent: an engine takes those that are left out from the model's generation_config.json. Prompts are token ids, so
that no template and no tokenizer stands between two services.
"""

from __future__ import annotations

import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.serving.service.exchange import Exchange, NotYet, parse, shown

GREEDY = {
    "n": 1, "temperature": 0, "top_p": 1, "top_k": -1, "min_p": 0, "presence_penalty": 0, "frequency_penalty": 0,
    "repetition_penalty": 1, "seed": 0, "stop": None, "ignore_eos": False, "min_tokens": 0, "stream": False,
}  # fmt: skip
ANSWER = 32 * 2**20  # bytes: 512 tokens with 20 probabilities each are about one
TRIES, PAUSE = 3, 2.0
FIRST = 120.0  # seconds for a first answer: some engines compile for a new kind of request
GONE = 8  # requests in a row that fail: it died


class Gone(Exception):
    """The service stopped answering; the text says after how much, and what it said last."""


class Service:
    """Where and how to ask. `until`: when asking ends whatever is left (time.monotonic)."""

    def __init__(self, endpoint: str, key: str | None, model: str, top: int, until: float) -> None:
        self.endpoint, self.key, self.model, self.top, self.until = endpoint, key, model, top, until
        self.probabilities, self.forces = True, True
        self.fingerprint = ""  # what the engine calls itself, such as vllm-0.32.0-...
        self.failed, self.problem, self.lasting = 0, "", False

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One answer as JSON. NotYet for anything else; what may be otherwise in a moment is asked again."""
        for attempt in range(TRIES):
            left = min(FIRST, self.until - time.monotonic())
            if left <= 0:
                raise NotYet("POST %s: no time is left" % path, steady="time")
            try:
                with Exchange(self.endpoint, "POST", path, self.key, dict(body, model=self.model), left) as exchange:
                    if exchange.status != 200:
                        raise exchange.refusal()
                    found = parse(exchange.body(ANSWER), exchange.what)
                    if not isinstance(found, dict):
                        raise NotYet("%s: the answer is no object: %s" % (exchange.what, shown(found)), steady="odd")
                    self.fingerprint = shown(str(found.get("system_fingerprint") or ""), 60)
                    return found
            except NotYet as problem:
                if problem.steady or attempt == TRIES - 1:
                    raise
                time.sleep(PAUSE)
        raise AssertionError

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The one choice of a completion."""
        found = self.post("/v1/completions", body)
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise NotYet("POST /v1/completions: no choice in %s" % shown(found), steady="no choice")
        choice: dict[str, Any] = choices[0]
        return choice

    def decode(self, prompt: list[int], tokens: int, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        """{tokens, text, finish, decoded}: a greedy answer; `decoded` is null where the engine gives no probabilities."""
        body = dict(GREEDY if fields is None else fields, prompt=prompt, max_tokens=tokens)
        body.update(return_token_ids=True, return_tokens_as_token_ids=True)
        if self.probabilities:
            body["logprobs"] = self.top
        choice = self.complete(body)
        logprobs = mapping(choice.get("logprobs"))
        ids = choice.get("token_ids")
        if not isinstance(ids, list):
            ids = [number_of(token) for token in logprobs.get("tokens") or []]
        decoded = positions_of(ids, logprobs.get("token_logprobs"), logprobs.get("top_logprobs"))
        return {
            "tokens": [token for token in ids if token is not None],
            "text": choice.get("text") if isinstance(choice.get("text"), str) else "",
            "finish": choice.get("finish_reason"),
            "decoded": decoded,
        }

    def tokens_of(self, row: dict[str, Any]) -> list[int]:
        """The tokens that a text or messages become, `limit` of them at most. NotYet where the engine doesn't say."""
        body = dict(GREEDY, max_tokens=1, return_token_ids=True)
        if row.get("messages"):
            found: Any = self.post("/v1/chat/completions", dict(body, messages=row["messages"])).get("prompt_token_ids")
        else:
            found = self.complete(dict(body, prompt=row["text"])).get("prompt_token_ids")
        if not isinstance(found, list) or not found:
            text = (
                "the engine doesn't return token ids, so no reference can be recorded from it; vLLM does from 0.10.2 on"
            )
            raise NotYet(text, steady="no token ids")
        return found if row.get("messages") else found[: int(row.get("limit") or len(found))]

    def force(self, tokens: list[int], since: int) -> list[list[list[Any]]] | None:
        """The positions of given tokens from `since` on; null where the engine has no prompt_logprobs."""
        if not self.forces:
            return None
        body = dict(GREEDY, prompt=tokens, max_tokens=1, prompt_logprobs=self.top)
        try:
            rows = self.complete(body).get("prompt_logprobs")
        except NotYet as problem:
            if not (problem.steady or "").startswith("HTTP 4"):
                raise
            rows = None
        if not isinstance(rows, list) or len(rows) != len(tokens):
            self.forces = False
            return None
        return [position(token, row) for token, row in zip(tokens[since:], rows[since:])]  # noqa: B905 - Python 3.8

    def item(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Both answers to an item; null where it could not be asked."""
        if self.failed >= GONE:
            return None
        try:
            prompt = row.get("prompt") or self.tokens_of(row)
            answer = self.decode(prompt, row["tokens"])
            # Whoever records a reference has no answer of it yet: the first one that comes is it.
            answer["forced"] = self.force(row.get("forced") or [*prompt, *answer["tokens"]], row.get("from") or 1)
            if not row.get("prompt"):
                answer["prompt"] = prompt
        except NotYet as problem:
            self.failed, self.problem, self.lasting = (
                self.failed + 1,
                str(problem),
                bool(problem.steady) or time.monotonic() >= self.until,
            )
            return None
        self.failed = 0
        return answer


def mapping(found: Any) -> dict[str, Any]:
    """What should be a mapping; an empty one where it is none."""
    return found if isinstance(found, dict) else {}


def number_of(token: Any) -> int | None:
    """The id in vLLM's `token_id:123`; None for any other word."""
    text = str(token)
    return int(text[9:]) if text.startswith("token_id:") and text[9:].isdigit() else None


def value(logprob: Any) -> float | None:
    """Six digits of a logprob; NaN, infinity and what is no number are null."""
    if isinstance(logprob, bool) or not isinstance(logprob, (int, float)) or not math.isfinite(logprob):
        return None
    return round(float(logprob), 6)


def position(token: int, row: Any) -> list[list[Any]]:
    """[[token, logprob], ...] of vLLM's {"token": {logprob}}: the standing token first."""
    if not isinstance(row, dict):
        return [[token, None]]
    listed = {
        int(key): value(one.get("logprob")) for key, one in row.items() if key.isdigit() and isinstance(one, dict)
    }
    return [[token, listed.get(token)], *([key, one] for key, one in listed.items() if key != token)]


def positions_of(ids: list[Any], chosen: Any, tops: Any) -> list[list[list[Any]]] | None:
    """Positions of an answer from OpenAI's lists of logprobs whose words are `token_id:123`; None where they aren't there."""
    if not isinstance(chosen, list) or not isinstance(tops, list) or not ids or None in ids or len(chosen) != len(ids):
        return None
    found = []
    for token, logprob, top in zip(ids, chosen, tops):  # noqa: B905 - Python 3.8
        rows = [[number_of(key), value(one)] for key, one in (top or {}).items()]
        found.append([[token, value(logprob)], *(row for row in rows if row[0] not in (None, token))])
    return found if len(found) == len(ids) else None


def ask_all(service: Service, rows: list[dict[str, Any]], load: int) -> dict[str, Any]:
    """{item: answer}, `load` requests at once. Gone where the service dies meanwhile; what it refuses has no answer."""
    if load == 1:
        answers = [service.item(row) for row in rows]
    else:
        with ThreadPoolExecutor(load) as pool:
            answers = list(pool.map(service.item, rows))
    found = {row["id"]: answer for row, answer in zip(rows, answers) if answer is not None}  # noqa: B905 - Python 3.8
    hangs = not found and time.monotonic() >= service.until
    if hangs or (service.failed >= min(GONE, len(rows)) and not service.lasting):
        raise Gone(
            "it stopped answering after %d of %d items at %d at once: %s"
            % (len(found), len(rows), load, service.problem)
        )
    return found


def template_of(service: Service, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """{tokens, count}: what the service makes of messages; `tokens` is null where the engine doesn't say. Empty where it has no chat."""
    body = dict(GREEDY, messages=messages, max_tokens=1, return_token_ids=True)
    try:
        found = service.post("/v1/chat/completions", body)
    except NotYet as problem:
        if problem.steady:  # a model without a chat template is judged all the same
            return {}
        raise
    usage = mapping(found.get("usage"))
    tokens = found.get("prompt_token_ids")
    count = usage.get("prompt_tokens")
    return {"tokens": tokens if isinstance(tokens, list) else None, "count": count if isinstance(count, int) else None}


def own_sampling(service: Service, rows: list[dict[str, Any]], answers: dict[str, Any]) -> str:
    """A sentence where greedy answers change when the sampling fields are left to the service; nothing where they don't."""
    apart = [
        row["id"] for row in rows if row["id"] in answers
        and service.decode(row["prompt"], row["tokens"], {"temperature": 0})["tokens"] != answers[row["id"]]["tokens"]
    ]  # fmt: skip
    if not apart:
        return ""
    return (
        "%d of %d greedy answers change when a caller leaves sampling to the service: it adds settings of its own (generation_config.json, "
        "such as repetition_penalty); start it with generation_config: vllm, or record a reference that has them"
        % (len(apart), len(rows))
    )


def limit_of(endpoint: str, key: str | None, model: str) -> int | None:
    """max_model_len as /v1/models says it."""
    with Exchange(endpoint, "GET", "/v1/models", key, None, 30.0) as exchange:
        found = parse(exchange.body(), exchange.what) if exchange.status == 200 else {}
    for row in (found.get("data") if isinstance(found, dict) else None) or []:
        if isinstance(row, dict) and row.get("id") == model and isinstance(row.get("max_model_len"), int):
            return int(row["max_model_len"])
    return None


def weights_of(path: str) -> dict[str, Any]:
    """{identity, source_identity} from the manifest of a model's folder; null where there is none."""
    try:
        with open(os.path.join(path, ".manifest.json"), encoding="utf-8") as source:
            found = json.load(source)
    except (OSError, ValueError):
        return {"identity": None, "source_identity": None}
    return {"identity": found.get("identity"), "source_identity": (found.get("source") or {}).get("identity")}
