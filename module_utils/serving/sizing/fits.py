"""Why a service does not fit the devices that it gets, in words that say what would.

Rule: never refuse what would have started. So a margin comes on top of the prediction, and what is not known (a quantisation made at load, a shape
without its sizes) is left to vLLM, which measures when it starts.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.serving.host.devices import Place, number
from ansible.module_utils.serving.sizing.asked import device_of, key_of, known_of, settings_of, whole
from ansible.module_utils.serving.sizing.candidates import shortfall
from ansible.module_utils.serving.sizing.engines import GIB, Constants
from ansible.module_utils.serving.sizing.learned import correction
from ansible.module_utils.serving.sizing.memory import Budget, Device, Settings, budget, cache_value, computed_dtype
from ansible.module_utils.serving.sizing.models import Model, model_of

MARGIN = GIB // 2  # what a prediction may be off
MARGIN_WEIGHTS = 0.03  # of the weights: embeddings that are tied, padding, a vision tower that isn't split


class Sized:
    """A service's table on its devices: what an engine of these settings would log. `known` by version, `learned` from earlier starts."""

    def __init__(
        self, service: dict[str, Any], record: dict[str, Any], place: Place | None, starts: list[dict[str, Any]]
    ) -> None:
        self.model: Model | None = model_of(service["model"])
        size = min(place.sizes) if place and place.sizes else None
        self.device: Device | None = device_of(record, size) if size or not place else None
        self.known: Constants = known_of(service)
        self.settings: Settings | None = settings_of(service, self.device, self.known) if self.device else None
        self.key = key_of(service, record, self.settings) if self.settings else None
        self.learned = correction(starts, self.key) if self.key else 0

    def budget(self, spare: int = 0, learned: bool = True) -> Budget | None:
        """The table; None where sizes are not known. `spare`: bytes to count as free beyond it."""
        if self.model is None or self.settings is None or self.device is None:
            return None
        return budget(self.model, self.settings, self.device, self.known, (self.learned if learned else 0) + spare)

    def problem(self) -> str | None:
        """The sentence for a context that the cache can't hold."""
        if self.model is None or self.settings is None or self.device is None:
            return None
        wide = (
            max(0, int(self.model.weight_bytes / self.settings.ranks * MARGIN_WEIGHTS))
            if self.settings.ranks > 1
            else 0
        )
        most, likely = self.budget(MARGIN + wide), self.budget()
        if (
            most is None
            or likely is None
            or not self.settings.max_model_len
            or most.tokens >= self.settings.max_model_len
        ):
            return None
        return str(shortfall(self.model, self.settings, self.device, self.known, likely))


def device_problems(
    service: dict[str, Any],
    record: dict[str, Any],
    place: Place,
    taken: dict[int, int] | None = None,
    starts: list[dict[str, Any]] | None = None,
) -> list[str]:
    """Why a service does not fit the host's devices: not there, too small, taken by others, or not linked with one another.

    `taken`: bytes of each device, by number, that neither it nor another service of its plan holds; without it all that are in use.
    """
    noun, tool = ("NPU", "npu-smi info") if record["kind"] == "npu" else ("GPU", "nvidia-smi")
    where = "service '%s': " % service["service"]
    found = [where + text for text in place.problems]
    if place.sizes and whole(service["engine_args"].get("max_model_len")):
        text = Sized(service, record, place, starts or []).problem()
        if text:
            found.append("%son %.1f GiB per %s %s" % (where, min(place.sizes) / GIB, noun, text))
    for device in place.cards:
        if device.get("mig") == "Enabled":
            continue  # a slice's memory is its own
        total = device["memory_total_bytes"]
        used = device["memory_used_bytes"] if taken is None else taken.get(number(device), 0)
        if used and total and used > total * (1 - service["utilization"]) + GIB:
            text = "%s %d has %.1f of %.1f GiB taken by something else; %s shows by what: end it, or set `devices`"
            found.append(where + text % (noun, number(device), used / GIB, total / GIB, tool))
    islands = record["topology"].get("nvlink_islands") or []
    indices = {device["index"] for device in place.cards}
    apart = any(len(group) > 1 for group in islands) and not any(indices <= set(group) for group in islands)
    if len(indices) > 1 and service["widths"]["ranks"] == len(indices) and apart:
        text = "its GPUs %s are in different NVLink islands (%s); set `devices` within one"
        found.append(where + text % (sorted(indices), " | ".join(",".join(map(str, group)) for group in islands)))
    return found


def cpu_problems(service: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Why a KV cache of so many bytes holds not even one text of full length. A bound that no engine gets below, whatever its blocks."""
    sized = Sized(service, record, None, [])
    model, chosen = sized.model, sized.settings
    if (
        model is None
        or chosen is None
        or chosen.kv_bytes is None
        or not whole(service["engine_args"].get("max_model_len"))
    ):
        return []
    value = cache_value(chosen.kv_dtype, computed_dtype(model, chosen.dtype))
    need = int(model.shape.sequence_bytes(chosen.max_model_len, value, chosen.tensor, chosen.pipeline) or 0)
    if need <= chosen.kv_bytes:
        return []
    holds = int(chosen.kv_bytes / need * chosen.max_model_len)
    text = "service '%s': kv_cache_memory_bytes %d holds about %d tokens, max_model_len asks for %d: max_model_len %d, or kv_cache_memory_bytes %d"
    enough = -(-need >> 26) << 26 if need >= 1 << 26 else need
    return [text % (service["service"], chosen.kv_bytes, holds, chosen.max_model_len, holds // 16 * 16, enough)]
