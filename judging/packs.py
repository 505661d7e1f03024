"""Packs: what a service answered when it was the reference, with everything that a comparison must hold equal.

    NAME/about.json        model identity, engine, sampling, template probe, margins, who and when
    NAME/items.jsonl.gz    one item a line: prompt and answer as token ids, with the probabilities that were seen
    NAME/manifest.json     sha256 of the two; manifest.json.sig beside it where somebody signed (`ssh-keygen -Y sign -n vllm-ansible-pack`)

A pack is read whole and checked before anything is asked. Its digest is that of the manifest.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
ABOUT, ITEMS, MANIFEST, SIGNATURE = "about.json", "items.jsonl.gz", "manifest.json", "manifest.json.sig"
SETS = "sets.json.gz"
NAMESPACE = "vllm-ansible-pack"
LARGEST = 512 * 2**20  # bytes of the items when unpacked
# The widest margins that a pack or a row may allow, in nats, points and nats: beyond them the word EQUIVALENT would say nothing.
WIDEST = {"divergence": 0.1, "score": 10.0, "tie": 2.0}
NEEDS = ("model", "sampling", "scorer", "runs")


class BadPack(Exception):
    """Why a pack can't be used: one sentence."""


class Pack(NamedTuple):
    name: str
    digest: str
    about: dict[str, Any]
    items: list[dict[str, Any]]
    signed: str | None  # who signed it; None where nobody asked
    sets: tuple[dict[str, Any], ...] = ()  # judging/sets.py has their form


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(
    folder: Path,
    about: Mapping[str, Any],
    items: Iterable[Mapping[str, Any]],
    sets: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write a pack into a folder that it makes, and return its digest. The manifest comes last: without it nothing counts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    lines = "".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n" for item in items)
    data = {
        ABOUT: (json.dumps({"format": FORMAT, **about}, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode(),
        ITEMS: gzip.compress(lines.encode(), 9, mtime=0),
    }
    (folder / SETS).unlink(missing_ok=True)
    if sets:
        data[SETS] = gzip.compress(json.dumps({"sets": list(sets)}, ensure_ascii=False).encode(), 9, mtime=0)
    for name, content in data.items():
        (folder / name).write_bytes(content)
    manifest = (
        json.dumps({"format": FORMAT, "files": {name: sha256(data[name]) for name in sorted(data)}}, indent=1) + "\n"
    )
    part = folder / (MANIFEST + ".part")
    part.write_text(manifest)
    part.replace(folder / MANIFEST)
    return sha256(manifest.encode())


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadPack(
            f"{path} can't be read: {error.strerror}; a pack is made by playbooks/record_reference.yml"
        ) from None


def read(folder: Path, signers: str = "") -> Pack:
    """A pack, checked against its manifest, and against `signers` (a file of allowed signers) if one is given. Raises BadPack."""
    manifest = read_file(folder / MANIFEST)
    wanted = parsed(manifest, folder / MANIFEST)
    files = wanted.get("files")
    if wanted.get("format") != FORMAT or not isinstance(files, dict) or set(files) - {SETS} != {ABOUT, ITEMS}:
        raise BadPack(f"{folder / MANIFEST} is no manifest of format {FORMAT}; make the pack anew with this version")
    signer = check_signature(folder, manifest, signers) if signers else None
    data = {}
    for name, digest in files.items():
        data[name] = read_file(folder / name)
        if sha256(data[name]) != digest:
            raise BadPack(
                f"{folder / name} has sha256 {sha256(data[name])[:12]}... and its manifest says {str(digest)[:12]}...: "
                "it was changed or cut after it was made; copy the pack again"
            )
    about = parsed(data[ABOUT], folder / ABOUT)
    lacking = [key for key in NEEDS if key not in about]
    if lacking:
        raise BadPack(f"{folder / ABOUT} lacks {', '.join(lacking)}; make the pack anew")
    for name, value in (about.get("margins") or {}).items():
        if problem := margin_problem(name, value):
            raise BadPack(f"{folder / ABOUT}: margins: {problem}; make the pack anew")
    items = [
        check_item(parsed(line, folder / ITEMS), folder / ITEMS)
        for line in unpacked(data[ITEMS], folder / ITEMS).splitlines()
    ]
    if not items:
        raise BadPack(f"{folder / ITEMS} has no items; make the pack anew")
    sets = parsed(unpacked(data[SETS], folder / SETS), folder / SETS).get("sets", []) if SETS in data else []
    return Pack(
        folder.name, sha256(manifest), about, items, signer, tuple(check_set(one, folder / SETS) for one in sets)
    )


def unpacked(data: bytes, path: Path) -> bytes:
    try:
        inflate = zlib.decompressobj(31)
        text = inflate.decompress(data, LARGEST)
    except zlib.error as error:
        raise BadPack(f"{path} is no gzip file: {error}") from None
    if not inflate.eof:
        raise BadPack(f"{path} is cut, or has more than {LARGEST >> 20} MiB of items")
    return text


def parsed(data: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(data, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise BadPack(f"{path} is no JSON; copy the pack again") from None
    if not isinstance(found, dict):
        raise BadPack(f"{path} has {type(found).__name__} where a mapping must be; make the pack anew")
    return found


def no_number(name: str) -> None:
    """NaN and Infinity are no JSON, and no probability."""
    raise ValueError(name)


def margin_problem(name: object, value: object) -> str:
    """What is wrong with a margin; nothing where it is good."""
    if name not in WIDEST:
        return f"has {name!r}; use one of {', '.join(WIDEST)}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= WIDEST[str(name)]:
        return f"{name} is {value!r}, but must be a number above 0 and at most {WIDEST[str(name)]:g}"
    return ""


def check_item(item: dict[str, Any], path: Path) -> dict[str, Any]:
    runs = item.get("runs")
    good = (
        isinstance(item.get("id"), str)
        and isinstance(item.get("prompt"), list)
        and isinstance(runs, list)
        and runs
        and all(isinstance(run, dict) and isinstance(run.get("tokens"), list) for run in runs)
    )
    if not good:
        raise BadPack(f"{path} has an item without id, prompt or runs ({str(item)[:80]}); make the pack anew")
    return item


def answers_of(item: Mapping[str, Any], one: Mapping[str, Any]) -> list[Any]:
    """The answers of an item, as many as the set says; else something that is none."""
    repeats = one.get("repeats", 1)
    found = item.get("answers") if repeats != 1 else [item.get("answer")]
    return found if isinstance(found, list) and len(found) == repeats else [None]


def good_terms(one: Mapping[str, Any]) -> bool:
    """Are the terms of a data set such as they can be? `known` becomes a folder's name, and a margin must mean something."""
    repeats, temperature, margin = one.get("repeats", 1), one.get("temperature", 0.6), one.get("margin", 1)
    return (
        re.fullmatch(r"[a-z0-9_]{1,64}", str(one.get("known", "x"))) is not None
        and isinstance(repeats, int) and not isinstance(repeats, bool) and repeats >= 1
        and isinstance(temperature, int | float) and 0 < temperature <= 2
        and not margin_problem("score", margin)
    )  # fmt: skip


def good_message(message: Any) -> bool:
    """Is it a message of a chat, of text or of texts and images?"""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content = message.get("content")
    return isinstance(content, str) or (
        isinstance(content, list)
        and all(
            isinstance(part, dict)
            and (
                (part.get("type") == "text" and isinstance(part.get("text"), str))
                or (
                    part.get("type") == "image_url"
                    and isinstance(part.get("image_url"), dict)
                    and isinstance(part["image_url"].get("url"), str)
                )
            )
            for part in content
        )
    )


def check_set(one: Any, path: Path) -> dict[str, Any]:
    items = one.get("items") if isinstance(one, dict) else None
    good = (
        isinstance(items, list)
        and items
        and good_terms(one)
        and all(isinstance(one.get(key), str) for key in ("name", "harness", "scorer", "data"))
        and isinstance(one.get("tokens"), int)
        and all(
            isinstance(item, dict)
            and isinstance(item.get("id"), str)
            and isinstance(item.get("messages"), list)
            and item["messages"]
            and all(map(good_message, item["messages"]))
            and isinstance(item.get("expect"), str)
            and all(
                isinstance(answer, dict) and isinstance(answer.get("right"), bool) == ("known" in one)
                for answer in answers_of(item, one)
            )
            for item in items
        )
    )
    if not good:
        raise BadPack(
            f"{path} has a data set without name, data, harness, scorer, tokens or answers; make the pack anew"
        )
    return dict(one)


def check_signature(folder: Path, manifest: bytes, signers: str) -> str:
    """Who signed. Raises BadPack where nobody of `signers` did."""
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise BadPack(
            f"{folder} is not signed, and reference_signers asks for a signature ({SIGNATURE}); sign it or take another pack"
        )
    if not os.path.isfile(signers):
        raise BadPack(f"reference_signers is {signers}, which is no file of allowed signers (man ssh-keygen)")
    found = ssh_keygen("find-principals", "-s", str(signature), "-f", signers)
    who = found.stdout.splitlines()[0] if found.returncode == 0 and found.stdout.strip() else ""
    if not who:
        raise BadPack(f"{signature} is of nobody in {signers}")
    checked = ssh_keygen(
        "verify",
        "-n",
        NAMESPACE,
        "-I",
        who,
        "-f",
        signers,
        "-s",
        str(signature),
        given=manifest.decode("utf-8", "replace"),
    )
    if checked.returncode:
        raise BadPack(f"{signature} does not fit {MANIFEST}: the pack was changed after {who} signed it")
    return who


def ssh_keygen(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", *words], input=given, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadPack(f"ssh-keygen, which checks signatures of packs, does not work here: {error}") from None
