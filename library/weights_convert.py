#!/usr/bin/python
"""Module weights_convert: a published model as fp16, for accelerators without bf16."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_convert
short_description: Convert a published model to float16, verified, visible by one rename
description:
  - bf16 tensors become fp16, bit for bit what torch's C(.to(float16)) gives. fp32 and fp64 tensors become fp16 where their name holds C(norm),
    and in a file without any bf16 or fp16 tensor, where fp32 is the weights' type; elsewhere their publisher keeps them exact, and so does this.
    Integers and everything else are untouched.
  - Refused where nothing would change (weights that are no safetensors, or in fp16 already) and for quantised models, whose tensors stay as they are.
  - Streams each shard once through sha256 of the source, conversion and sha256 of the result; several shards at once, memory bounded.
  - A source shard whose sha256 is not its manifest's is refused. A value that would become infinite is an error that names the tensor, and
    so is a scale that would become 0.
  - Index, tokenizer and configuration come along, types and sizes in them are corrected. Per-tensor counts go to the manifest.
  - Published as C(<name>@<revision>+float16) beside the source; both stay, so it needs as much disk again. An unchanged source is not read again.
  - A killed run goes on with the shards that were not finished.
options:
  name: {description: Model's name in models.yml., type: str, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  overflow:
    description: What happens to a finite value beyond 65504. V(fail) refuses, V(saturate) takes the largest fp16 value.
    type: str
    choices: [fail, saturate]
    default: fail
  lock_timeout: {description: Seconds to wait for another process that converts the same model., type: int, default: 86400}
  look: {description: Only say whether there is anything to do (C(pending))., type: bool, default: false}
requirements: [numpy]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Convert for an accelerator without bf16
  weights_convert:
    name: demo
    models_root: /srv/vllm/models
  vars:
    ansible_python_interpreter: /srv/vllm/tools/bin/python
"""
RETURN = r"""
path: {description: The published folder., returned: always, type: str, sample: /srv/vllm/models/demo@0a1b2c3d4e5f+float16}
revision: {description: Its revision., returned: always, type: str, sample: 0a1b2c3d4e5f+float16}
identity: {description: Digest over names, sizes and sha256 of its files., returned: success, type: str}
subnormal: {description: Values that were rounded to fp16's subnormals or to zero., returned: when changed, type: int}
saturated: {description: Values that were cut to 65504., returned: when changed, type: int}
progress_file: {description: Where a run tells how far it is., returned: with look, type: str}
pending: {description: Whether there is anything to do., returned: with look, type: bool}
reasons: {description: Why it was converted., returned: always, type: list, elements: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, write_json
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights import acquire, leftovers, manifests, model_state, publishing, records
from ansible.module_utils.serving.weights.listing import SourceFailed
from ansible.module_utils.serving.weights.local import Published
from ansible.module_utils.serving.weights.model_state import lock_path, look, published
from ansible.module_utils.serving.weights.staging import TOOL, Staging

try:
    import numpy  # noqa: F401  (the conversion's only need; without it this module says so instead of failing inside)

    HAS_NUMPY = True
except ImportError:
    HAS_NUMPY = False


def why_not_converted(root: str, name: str, identity: str) -> tuple[str | None, dict[str, Any], list[str]]:
    """(folder, manifest, reasons): the converted form of exactly this source; else why there is none."""
    form = look(root, name, "float16")
    if not form.record:
        return None, {}, ["it has no converted form yet"]
    if form.path is None:
        return None, {}, ["%s is gone" % manifests.published(root, name, form.record["revision"])]
    if form.manifest["source"]["identity"] != identity:
        return None, {}, ["the source has changed"]
    problems = manifests.damage(form.path, form.manifest, full=False)
    return (None if problems else form.path), form.manifest, problems


def result(folder: str | None, manifest: dict[str, Any], changed: bool, reasons: list[str]) -> dict[str, Any]:
    after = "%s\n" % folder if changed else ""
    found = {
        "changed": changed,
        "path": folder,
        "revision": manifest.get("revision"),
        "identity": manifest.get("identity"),
        "reasons": reasons,
        "diff": {"before": "", "after": after, "before_header": "models", "after_header": "models"},
    }
    if changed and "tensors" in manifest:
        counts = manifest["tensors"].values()
        found["subnormal"] = sum(row["subnormal"] + row["zeroed"] for row in counts)
        found["saturated"] = sum(row["overflowed"] for row in counts)
    return found


def body(module: AnsibleModule) -> dict[str, Any]:
    name, root = module.params["name"], module.params["models_root"]
    plain = published(root, name, None)
    source, manifest, record = str(plain.path), plain.manifest, plain.record
    folder, there, reasons = why_not_converted(root, name, manifest["identity"])
    if folder:
        leftovers.sweep(root, name + model_state.SUFFIX, folder, module.check_mode)
        return result(folder, there, False, [])
    if module.params["look"]:
        return {
            "changed": False,
            "pending": True,
            "reasons": reasons,
            "progress_file": records.progress_path(root, name + model_state.SUFFIX),
        }
    if not HAS_NUMPY:
        raise Refusal(missing_required_lib("numpy", reason="which the tools environment brings"))
    if module.check_mode:
        try:
            listing = Published(source).listing()
            acquire.foresee(listing, Staging(root, name + model_state.SUFFIX, listing.short), "float16")
        except SourceFailed as failure:
            raise Refusal("%s; run deploy.yml --tags fetch" % failure) from None
        return result(manifests.published(root, name, manifest["revision"] + model_state.SUFFIX), {}, True, reasons)
    key = name + model_state.SUFFIX
    with (
        locked(lock_path(root, key), "model '%s'" % key, module.params["lock_timeout"]),
        Progress(records.progress_path(root, key), key) as progress,
    ):
        leftovers.tidy(root, key)
        folder, there, reasons = why_not_converted(root, name, manifest["identity"])
        if folder:
            return result(folder, there, False, [])
        try:
            listing = Published(source).listing()
            staging = Staging(root, key, listing.short)
            acquire.bring(listing, staging, "float16", module.params["overflow"] == "saturate", Limits(), progress)
            folder, done, new = publishing.publish(staging, listing, name, "float16", {"tool": TOOL})
            for note in staging.notes:
                module.warn("model '%s': %s" % (name, note))
        except SourceFailed as failure:
            raise Refusal("%s; run deploy.yml --tags fetch" % failure) from None
        write_json(manifests.ref_path(root, key), dict(record, revision=done["revision"]))
    return result(folder, done, new, reasons if new else [])


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "models_root": {"type": "path", "required": True},
        "overflow": {"type": "str", "choices": ["fail", "saturate"], "default": "fail"},
        "lock_timeout": {"type": "int", "default": 86400},
        "look": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
