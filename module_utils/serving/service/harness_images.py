"""Images of a data set's questions. A question names one by the digest of its bytes; the bytes come from a copy of the data set on the host.

So packs stay small, no licence is broken by handing one on, and a copy of another revision can't be asked unnoticed.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service import harness_sets
from ansible.module_utils.serving.service.harness_program import images_of

BY_DIGEST = "sha256:"


def folder_of(work: str) -> str:
    return os.path.join(work, "images")


def files(work: str) -> dict[str, str]:
    """{digest: path} of the images that a run has."""
    folder = folder_of(work)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {name.partition(".")[0]: os.path.join(folder, name) for name in names if not name.endswith(".part")}


def sound(path: str, wanted: str) -> bool:
    """Has the file the bytes that its digest says?"""
    with open(path, "rb") as source:
        return hashlib.sha256(source.read()).hexdigest() == wanted


def bring(work: str, items: list[dict[str, Any]], copy: dict[str, Any], python: str, seconds: int) -> str:
    """Take the images of the questions out of the copy of the data set; why not all of them are there, or nothing.

    `copy`: {known, shots, folder, source}, the last what to put where. An image that is there already is checked and stays.
    """
    wanted = {url[len(BY_DIGEST) :] for url in images_of(items)}
    if not wanted:
        return ""
    have = {name for name, path in files(work).items() if name in wanted and sound(path, name)}
    if have == wanted:
        return ""
    if not copy:
        return "its questions name images by their digest, and the pack does not say of which data set; record it anew"
    if not os.path.isdir(copy["folder"]):
        return "its questions have images, and this host has no copy of them (%s); put %s on the controller" % (
            copy["folder"], copy["source"],
        )  # fmt: skip
    os.makedirs(folder_of(work), mode=0o700, exist_ok=True)
    for name, path in files(work).items():
        if name not in have:
            os.unlink(path)
    request = {"known": copy["known"], "shots": copy["shots"], "folder": copy["folder"], "images": folder_of(work)}
    try:
        harness_sets.told(python, request, seconds)
    except Refusal as problem:
        return str(problem)
    lacking = wanted - set(files(work))
    if lacking:
        return "%d of its %d images are not in the copy in %s, which is of another revision than the pack's" % (
            len(lacking), len(wanted), copy["folder"],
        )  # fmt: skip
    return ""


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def for_harness(message: dict[str, Any], images: dict[str, str]) -> dict[str, Any]:
    """A message in evalscope's form, in which an image is a file; it sends the bytes."""
    if not isinstance(message["content"], list):
        return message
    content: list[dict[str, Any]] = []
    for part in message["content"]:
        if part["type"] == "text":
            content.append({"type": "text", "text": part["text"]})
        else:
            url = part["image_url"]["url"]
            content.append({"type": "image", "image": images.get(url[len(BY_DIGEST) :], url)})
    return {**message, "content": content}


def as_asked(message: dict[str, Any]) -> list[Any]:
    """Role, texts and images of a message, alike for ours and for evalscope's."""
    found: list[Any] = [message["role"]]
    for part in parts_of(message):
        if part["type"] == "text":
            found.append(part["text"])
        elif part["type"] == "image_url":
            found.append(part["image_url"]["url"])
        elif os.path.isabs(part["image"]):
            found.append(BY_DIGEST + os.path.basename(part["image"]).partition(".")[0])
        else:
            found.append(part["image"])
    return found
