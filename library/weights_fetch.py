#!/usr/bin/python
"""Module weights_fetch: bring a model onto a host, verified, visible by one rename."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_fetch
short_description: Publish a model below models_root
description:
  - Fetches a model from the first source that can serve it. The hubs' own clients resolve and list; the bytes come by parallel HTTP ranges.
  - Each file must have the digest that its hub states (sha256, for small files of Hugging Face git's sha1). A folder is read, and what was read is
    published; its C(SHA256SUMS) must agree with that.
  - In each folder of a model an index says which safetensors are taken, else all of them are, but no C(adapter_*) beside the model's own. Other forms
    of the same weights beside them (C(.bin), C(.pth), C(.gguf), C(.onnx), C(original/), C(consolidated*) and the like), or beside C(pytorch_model.bin)
    where there are none, are left out and named before bytes move; O(include) and O(exclude) change that.
    What editors and systems leave behind is skipped. What can't be a whole model is refused.
  - A killed run goes on at the byte where it was. Content that another revision of the model has is not fetched again.
  - With O(convert) shards are converted while they are fetched, so the bf16 copy never touches the disk.
  - Published as C(<name>@<first 12 digits of the commit>) by one rename, with a manifest. A run on published, unchanged weights reads none of them.
  - A revision that is no commit is resolved once and recorded; later runs stay with it.
options:
  name: {description: Model's name in models.yml., type: str, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  sources:
    description:
      - Where the model is published. C(modelscope), C(huggingface) have repo and revision, C(mirror) url and revision, C(directory) path.
      - C(registry) with repo is the archive of an image (M(image_archive)), which comes from C(peers) alone.
    type: dict
    required: true
  order:
    description: Which source is tried first. C(peers) are the hosts of the play that have it or fetch it; O(peers_file) says who they are.
    type: list
    elements: str
    default: [directory, peers, mirror, modelscope, huggingface]
  require_pin: {description: Refuse a source whose revision is no commit., type: bool, default: false}
  include: {description: "Patterns of files to take although they would be left out; of GGUF files, the ones to take.", type: list, elements: str, default: []}
  exclude: {description: Patterns of files to leave out; they win over O(include)., type: list, elements: str, default: []}
  code:
    description:
      - "Python files of the repository that the engine may run, with the digests that somebody has read: {file: digest}, sha256 or git's sha1."
      - A source whose files are others, or that has more of them, is not published.
    type: dict
    default: {}
  convert: {description: Publish it as fp16 under C(<name>@<revision>+float16)., type: str, choices: [float16]}
  overflow:
    description: What happens to a finite value beyond 65504. V(fail) refuses, V(saturate) takes the largest fp16 value.
    type: str
    choices: [fail, saturate]
    default: fail
  connections: {description: Parallel connections., type: int, default: 16}
  stall_timeout:
    description:
      - Seconds without a byte, or with less than 1 KiB/s over all connections, after which a connection is given up.
      - The other limits follow from it. An answer must have begun after 2 times as long, a page of a listing be whole after 4 times, a listing after 10.
    type: int
    default: 30
  least_rate:
    description: Bytes a second, over 4 times O(stall_timeout), that a source must give while another one remains. The last one may be as slow as 1 KiB/s.
    type: int
    default: 32768
  retries: {description: Tries without progress before a source is given up., type: int, default: 6}
  wait_limit: {description: Longest Retry-After that is waited for in seconds., type: int, default: 600}
  modelscope_endpoint: {description: Address of the hub. Empty takes MODELSCOPE_ENDPOINT of the host, else ModelScope itself., type: str, default: ''}
  modelscope_token: {description: Empty takes MODELSCOPE_API_TOKEN of the host., type: str, default: ''}
  huggingface_endpoint: {description: Address of the hub. Empty takes HF_ENDPOINT of the host, else Hugging Face itself., type: str, default: ''}
  huggingface_token: {description: Empty takes HF_TOKEN of the host., type: str, default: ''}
  mirror_token: {description: Bearer token of the mirror., type: str, default: ''}
  lock_timeout: {description: Seconds to wait for another process that fetches the same model., type: int, default: 86400}
  peers_file: {description: File in which module weights_peer has written the hosts of this play; none without it., type: path}
  peer_patience: {description: Seconds without a byte after which another host's fetch is no longer waited for., type: int, default: 60}
  look: {description: Only say whether there is anything to do (C(pending)); contacts no source., type: bool, default: false}
requirements: [modelscope, huggingface-hub, urllib3, numpy (with convert)]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Publish the demo model
  weights_fetch:
    name: demo
    models_root: /srv/vllm/models
    sources: {directory: {path: /opt/models/demo}}

- name: Fetch QwQ-32B as fp16 for an accelerator without bf16
  weights_fetch:
    name: qwq-32b
    models_root: /srv/vllm/models
    sources:
      modelscope: {repo: Qwen/QwQ-32B, revision: master}
      huggingface: {repo: Qwen/QwQ-32B, revision: main}
    order: [modelscope, huggingface]
    convert: float16
  vars:
    ansible_python_interpreter: /srv/vllm/tools/bin/python
"""
RETURN = r"""
path: {description: The published folder., returned: always, type: str, sample: /srv/vllm/models/demo@0a1b2c3d4e5f}
revision: {description: Its revision., returned: always, type: str}
commit: {description: The hub's commit it was resolved to; null for a directory., returned: always, type: str}
identity: {description: Digest over names, sizes and sha256 of its files., returned: always, type: str}
bytes: {description: Size of its files., returned: always, type: int}
source: {description: Which source served., returned: always, type: str}
peers: {description: Bytes that came from each host of the play., returned: when hosts share, type: dict}
dropped_peers: {description: Hosts of the play from which nothing more was taken, with the reason., returned: when hosts share, type: list, elements: str}
reused: {description: Files whose content was on the host already., returned: when changed, type: list, elements: str}
left_out: {description: "Files that were left out, with sizes and reasons.", returned: always, type: list, elements: str}
seconds: {description: How long it took., returned: when changed, type: float}
failed_sources: {description: Sources that were tried first and why they could not serve., returned: always, type: list, elements: str}
progress_file: {description: Where a run tells how far it is., returned: with look, type: str}
pending: {description: Whether there is anything to do., returned: with look, type: bool}
reasons: {description: Why something was done., returned: always, type: list, elements: str}
"""

import importlib.metadata
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.facts import would_publish
from ansible.module_utils.serving.files import locked, write_json
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights import acquire, code, leftovers, manifests, model_state, publishing, records
from ansible.module_utils.serving.weights.choice import Wanted, words
from ansible.module_utils.serving.weights.folders import seen_at
from ansible.module_utils.serving.weights.hubs import HUBS
from ansible.module_utils.serving.weights.listing import Listing, SourceFailed, guarded
from ansible.module_utils.serving.weights.model_state import lock_path
from ansible.module_utils.serving.weights.peer import OUTSIDE, STRANDED
from ansible.module_utils.serving.weights.peer_client import Nobody
from ansible.module_utils.serving.weights.peers import Peers
from ansible.module_utils.serving.weights.sources import candidates, limits_of, shown_address, source_of, wanted_of
from ansible.module_utils.serving.weights.staging import TOOL, Staging


def result(
    manifest: dict[str, Any],
    folder: str,
    changed: bool,
    reasons: list[str],
    failures: list[str],
    left_out: list[str] | None = None,
) -> dict[str, Any]:
    files = manifest["files"]
    size = sum(f["bytes"] for f in files.values())
    after = "%s (%d files, %d bytes)\n" % (folder, len(files), size) if changed else ""
    after += "".join("left out: %s\n" % line for line in left_out or [])
    return {
        "changed": changed,
        "path": folder,
        "revision": manifest["revision"],
        "commit": manifest.get("commit"),
        "identity": manifest["identity"],
        "bytes": size,
        "source": manifest["source"]["kind"],
        "reasons": reasons,
        "failed_sources": failures,
        "left_out": left_out or [],
        "diff": {"before": "", "after": after, "before_header": "models", "after_header": "models"},
    }


def try_sources(module: AnsibleModule, key: str, progress: Progress, peers: Peers) -> tuple[dict[str, Any], Listing]:
    """(result, listing) of the first source that serves. Refusal if none does."""
    given = module.params
    root, convert = given["models_root"], given["convert"]
    limits = limits_of(given, bool(peers))
    failures: list[str] = []
    order = [one for one in candidates(module.params, key) if one[0] != "peers" or peers]
    if not order:
        raise Refusal(
            "model '%s' may come from other hosts of the play alone, and none takes part; "
            "add a source to weights_sources, or set weights_relay" % given["name"]
        )
    if ("peers", {}) in order:
        order.append(("peers", {}))  # a host without a way outside waits for one that has
    for number, (kind, row) in enumerate(order, 1):
        began, clock = time.time(), time.monotonic()
        limits.others = any(one != "peers" for one, _ in order[number:])
        last = number == len(order) and kind == "peers"
        place = (
            row
            if kind == "published"
            else row.get("repo")
            or shown_address(row.get("url") or "")
            or row.get("path")
            or (peers.repo if kind == "peers" else "(nothing given)")
        )
        try:
            with guarded():
                if kind == "peers":
                    if last:
                        peers.tell(STRANDED)
                    listing, staging = peers.bring(root, convert, limits)
                else:
                    if kind not in ("published", "directory"):
                        peers.tell(OUTSIDE)
                    source = source_of(kind, row, given, limits)
                    listing = source.listing()
                    refuse(code.of_listing(given["code"], listing.files))
                    staging = Staging(root, key, listing.short)
                    say(module, listing)
                    if peers:
                        staging.open()
                        staging.describe(listing, origin_of(listing, root, given["name"], wanted_of(given)))
                    acquire.bring(listing, staging, convert, given["overflow"] == "saturate", limits, progress)
                packages = HUBS[kind].packages if kind in HUBS else ()
                clients = {name: importlib.metadata.version(name) for name in packages}
                tool = {
                    "tool": TOOL,
                    "clients": clients,
                    "began": int(began),
                    "seconds": round(time.monotonic() - clock, 1),
                }
                if kind == "peers" and convert:
                    tool["tensors"] = peers.tensors
                refuse(code.of_folder(given["code"], staging.folder, (entry.name for entry in listing.files)))
                folder, manifest, new = publishing.publish(staging, listing, given["name"], convert, tool)
                for note in staging.notes:
                    module.warn("model '%s': %s" % (given["name"], note))
                done = result(manifest, folder, new, [], failures, words(listing.left_out, listing.sizes))
                if kind == "peers":
                    done["source"] = kind
                if peers:
                    done.update(peers=peers.served, dropped_peers=peers.dropped)
                return dict(done, reused=staging.reused, seconds=tool["seconds"]), listing
        except Nobody as failure:
            if last:  # before, it only means that this host is the one to fetch
                failures.append("%s %s: %s" % (kind, place, failure))
        except SourceFailed as failure:
            failures.append("%s %s: %s" % (kind, place, failure))
    raise Refusal(
        "model '%s' can't be fetched. No source serves it:\n  %s" % (given["name"], "\n  ".join(failures)),
        failed_sources=failures,
    )


def refuse(fault: str) -> None:
    """SourceFailed for a source that has other code than the row: another one may have the same."""
    if fault:
        raise SourceFailed(fault)


def origin_of(listing: Listing, root: str, name: str, wanted: Wanted) -> dict[str, Any]:
    """Where a listing comes from first of all: a converted model from where its source came."""
    found = model_state.record_of(root, name) if listing.kind == "published" else {}
    return {
        "kind": found.get("kind", listing.kind),
        "repo": found.get("repo", listing.repo),
        "requested": found.get("requested", listing.requested),
        "wanted": wanted.record,
    }


def say(module: AnsibleModule, listing: Listing) -> None:
    """Name in the log of the host what is left out, before bytes move."""
    lines = words(listing.left_out, listing.sizes)
    if lines:
        module.log("model '%s' from %s: left out: %s" % (module.params["name"], listing.kind, "; ".join(lines)))


def dry_run(module: AnsibleModule, key: str, reasons: list[str]) -> dict[str, Any]:
    """What a run would fetch, from the first source that lists it."""
    failures = []
    order = candidates(module.params, key)
    for kind, row in order:
        if kind == "peers":  # in check mode none of them serves
            if len(order) > 1:
                continue
            listing = Listing(kind, "", None, "", ())
        try:
            if kind != "peers":
                with guarded():
                    limits = limits_of(module.params)
                    source = source_of(kind, row, module.params, limits)
                    listing = source.listing()
                    refuse(code.of_listing(module.params["code"], listing.files))
                    staging = Staging(module.params["models_root"], key, listing.short)
                    acquire.foresee(listing, staging, module.params["convert"])
        except SourceFailed as failure:
            failures.append("%s: %s" % (kind, failure))
            continue
        revision = (listing.short or "<revision>") + (model_state.SUFFIX if module.params["convert"] else "")
        folder = manifests.published(module.params["models_root"], module.params["name"], revision)
        left_out = words(listing.left_out, listing.sizes)
        text = "%s (%d files, %d bytes, from %s)\n" % (folder, len(listing.files), listing.bytes, kind)
        text += "".join("left out: %s\n" % line for line in left_out)
        for note in listing.notes:
            module.warn("model '%s': %s" % (module.params["name"], note))
        return {
            "changed": True,
            "path": None,
            "revision": None,
            "commit": listing.revision or None,
            "identity": None,
            "bytes": listing.bytes,
            "source": kind,
            "reasons": reasons,
            "failed_sources": failures,
            "left_out": left_out,
            "diff": {"before": "", "after": text, "before_header": "models", "after_header": "models"},
        }
    raise Refusal(
        "model '%s' can't be fetched. No source lists it:\n  %s" % (module.params["name"], "\n  ".join(failures))
    )


def body(module: AnsibleModule) -> dict[str, Any]:
    name, root, sources = module.params["name"], module.params["models_root"], module.params["sources"]
    key = model_state.key_of(name, module.params["convert"])
    wanted = wanted_of(module.params)
    folder, reasons = records.why_not_published(root, key, sources, wanted)
    # Says in check mode whether Serve, later in the same run, would find other weights than lie here now.
    fact = would_publish(key)
    if folder:
        manifest = manifests.read_manifest(folder) or {}
        code.check_published(name, module.params["code"], folder, manifest.get("files", ()))
        leftovers.sweep(root, key, folder, module.check_mode)
        done = result(manifest, folder, False, [], [])
        return {**done, "ansible_facts": {fact: False}} if module.check_mode else done
    if module.params["look"]:
        return {
            "changed": False,
            "pending": True,
            "reasons": reasons,
            "progress_file": records.progress_path(root, key),
        }
    if module.check_mode:
        return {**dry_run(module, key, reasons), "ansible_facts": {fact: True}}
    refs = os.path.join(root, ".refs")
    os.makedirs(refs, exist_ok=True)
    with (
        locked(lock_path(root, key), "model '%s'" % key, module.params["lock_timeout"]),
        Progress(records.progress_path(root, key), key) as progress,
        Peers(module.params["peers_file"] or "", key, sources, module.params["peer_patience"], progress) as peers,
    ):
        peers.files = wanted.record
        leftovers.tidy(root, key)
        folder, again = records.why_not_published(root, key, sources, wanted)
        if folder:  # another process, maybe of another host that shares this folder, has fetched it meanwhile
            return result(manifests.read_manifest(folder) or {}, folder, False, [], [])
        done, listing = try_sources(module, key, progress, peers)
        origin = model_state.record_of(root, name) if listing.kind == "published" else {}
        record = {
            "revision": done["revision"],
            **origin_of(listing, root, name, wanted),
            "commit": origin.get("commit", done["commit"]),
        }
        if record["kind"] == "directory":
            record["fingerprint"] = origin.get(
                "fingerprint", listing.fingerprint or seen_at((sources.get("directory") or {}).get("path"))
            )
        if done.get("dropped_peers"):
            record["dropped_peers"] = done["dropped_peers"]
            for words_of_one in done["dropped_peers"]:
                module.warn("dropped as a source of '%s': %s; check it with weights_info, full" % (key, words_of_one))
        write_json(manifests.ref_path(root, key), record)
    return dict(done, reasons=again if done["changed"] else [])


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "models_root": {"type": "path", "required": True},
        "sources": {"type": "dict", "required": True},
        "order": {
            "type": "list",
            "elements": "str",
            "default": ["directory", "peers", "mirror", "modelscope", "huggingface"],
        },
        "require_pin": {"type": "bool", "default": False},
        "include": {"type": "list", "elements": "str", "default": []},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "code": {"type": "dict", "default": {}},
        "convert": {"type": "str", "choices": ["float16"]},
        "overflow": {"type": "str", "choices": ["fail", "saturate"], "default": "fail"},
        "connections": {"type": "int", "default": 16},
        "stall_timeout": {"type": "int", "default": 30},
        "least_rate": {"type": "int", "default": 32768},
        "retries": {"type": "int", "default": 6},
        "wait_limit": {"type": "int", "default": 600},
        "modelscope_endpoint": {"type": "str", "default": ""},
        "modelscope_token": {"type": "str", "default": "", "no_log": True},
        "huggingface_endpoint": {"type": "str", "default": ""},
        "huggingface_token": {"type": "str", "default": "", "no_log": True},
        "mirror_token": {"type": "str", "default": "", "no_log": True},
        "lock_timeout": {"type": "int", "default": 86400},
        "peers_file": {"type": "path"},
        "peer_patience": {"type": "int", "default": 60},
        "look": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
