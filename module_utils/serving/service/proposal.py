"""A service's row for a model on a board, by the same sizing as a deploy's, and what an operator should know before it is deployed.

Pure: a model's row, an accelerator and what else runs there go in; a row and an outlook come out. Nothing is guessed where sizing knows
nothing: what is left open is said. Sizes are bytes.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Iterable, Mapping

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.sizing.asked import fixed
from ansible.module_utils.serving.sizing.engines import RESERVED, constants
from ansible.module_utils.serving.sizing.fits import MARGIN
from ansible.module_utils.serving.sizing.memory import Budget, Device, Settings, budget, weights
from ansible.module_utils.serving.sizing.models import Model, sized
from ansible.module_utils.serving.sizing.rules import widths as undivided
from ansible.module_utils.serving.weights.shape import Shape

CONTEXT = 32768  # tokens that are asked for on a GPU where the model takes as many
CONTEXT_CPU = 8192
LEAST = 2048  # tokens below which a context is no use
ROOMY = 3  # texts of full length that should fit at once before more devices are taken
TEXTS_CPU = 4  # that a KV cache on a CPU holds
WIDTHS = (1, 2, 4, 8, 16)
PORTS = range(8000, 9000)
UTILIZATION = 0.9
GENERATES = ("chat", "completion")


@dataclasses.dataclass(frozen=True)
class Wish:
    """What an operator asks for beyond the model: 0 and empty leave it to us."""

    context: int = 0
    port: int = 0
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What a service would take. `tokens`: what its KV cache holds; None: not known."""

    weights: int  # on one device
    memory: int | None  # of one device; None on a CPU
    devices: int
    context: int
    tokens: int | None
    total: int | None = None  # bytes of a host's memory, on a CPU

    @property
    def concurrency(self) -> float | None:
        """Texts of full length at once."""
        return self.tokens / self.context if self.tokens is not None and self.context else None


def on_board(
    model: Model, board: Mapping[str, Any], args: Mapping[str, Any], tensor: int, context: int
) -> tuple[Settings, Budget]:
    """What a service of these options takes of each of `tensor` devices of a board, with the newest engine."""
    known, kind = constants(None), str(board["kind"])
    device = Device(int(board.get("memory_bytes") or 0), reserved=RESERVED if kind == "gpu" else 0, kind=kind)
    large = device.total >= known.large
    base = {
        "utilization": UTILIZATION, "max_num_seqs": known.seqs[large], "max_num_batched_tokens": known.batched[large],
        "fused": kind == "gpu" and board.get("runtime") == "container" and tensor > 1, **fixed(dict(args)),
    }  # fmt: skip
    chosen = Settings(**{**base, "tensor": tensor, "max_model_len": context})
    return chosen, budget(model, chosen, device, known)


def context_of(shape: Shape, most: int, asked: int) -> int:
    """Tokens of the context to try first. Refusal where more is asked for than the model takes."""
    limit = shape.max_position_embeddings
    if asked and limit and asked > limit:
        raise Refusal("max_model_len %d is more than the %d tokens that the model takes; lower it" % (asked, limit))
    return asked or min(limit or most, most)


def widths(model: Model, count: int) -> list[int]:
    """Numbers of devices that can share the model, smallest first."""
    return [n for n in WIDTHS if n <= max(1, count) and not list(undivided(model, Settings(tensor=n)))]


def on_devices(row: Mapping[str, Any], board: Mapping[str, Any], args: Mapping[str, Any], asked: int) -> Outlook | None:
    """The smallest number of devices on which it fits with room, else the most room there is; None where it doesn't fit."""
    model, memory = sized(dict(row)), int(board.get("memory_bytes") or 0)
    first = context_of(model.shape, CONTEXT, asked)
    found: list[Outlook] = []
    for tensor in widths(model, int(board.get("count") or 1)):
        context = first
        chosen, table = on_board(model, board, args, tensor, context)
        if table.cache_bytes < -MARGIN:
            continue
        while model.shape.known and table.tokens < context and not asked and context > LEAST:
            context = max(LEAST, context // 2)
            chosen, table = on_board(model, board, args, tensor, context)
        if model.shape.known and table.tokens < context:
            continue
        tokens = table.tokens if model.shape.known else None
        found.append(Outlook(weights(model, chosen), memory, tensor, context, tokens))
    roomy = [one for one in found if one.context == first and (one.concurrency is None or one.concurrency >= ROOMY)]
    best = roomy or sorted(found, key=lambda one: -one.context)
    return best[0] if best else None


def on_cpu(row: Mapping[str, Any], board: Mapping[str, Any], kind: str, asked: int) -> tuple[Outlook, int]:
    """(outlook, bytes of KV cache) on a host's own memory, which only the host knows: the deploy's first phase compares."""
    model = sized(dict(row))
    context = context_of(model.shape, CONTEXT_CPU, asked)
    least = int((board.get("engine_args") or {}).get("kv_cache_memory_bytes") or 1 << 28)
    one = model.shape.sequence_bytes(context)
    cache = max(least, -(-int((one or 0) * TEXTS_CPU) >> 26) << 26) if kind in GENERATES or one else least
    token, held = model.shape.token_bytes(), weights(model, Settings())
    total = held + cache + int(board.get("overhead_bytes") or 0)
    return Outlook(held, None, 1, context, int(cache / token) if token else None, total), cache


def traits(board: Mapping[str, Any], engines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What rules must know of the engine that a board serves with."""
    return list((engines.get(str(board.get("engine"))) or {}).get("traits") or [])


def others(
    model: Mapping[str, Any],
    boards: Mapping[str, Mapping[str, Any]],
    engines: Mapping[str, Mapping[str, Any]],
    args: Mapping[str, Any],
    asked: int,
) -> list[str]:
    """Words for boards of the inventory on which it would fit."""
    found = []
    for name, board in sorted(boards.items()):
        if board.get("kind") == "cpu" or not board.get("memory_bytes") or "one-model" in traits(board, engines):
            continue
        fits = on_devices(model, board, args, asked)
        if fits:
            found.append("%s with tensor_parallel_size %d and max_model_len %d" % (name, fits.devices, fits.context))
    return found


def does_not_fit(
    name: str,
    model: Mapping[str, Any],
    board: Mapping[str, Any],
    boards: Mapping[str, Mapping[str, Any]],
    engines: Mapping[str, Mapping[str, Any]],
    args: Mapping[str, Any],
    asked: int,
) -> Refusal:
    """Why a model fits no number of this board's devices, and what would."""
    sizes, count, memory = sized(dict(model)), int(board.get("count") or 1), int(board.get("memory_bytes") or 0)
    most = max(widths(sizes, count) or [1])
    _, table = on_board(sizes, board, args, most, asked or LEAST)
    usable = table.rows[0][1]
    need = usable - table.cache_bytes
    would = others(model, boards, engines, args, asked)
    if need <= usable:
        tokens = max(0, table.tokens)
        text = "its KV cache would hold %d tokens there, and %d are asked for; ask for fewer (-e max_model_len=%d)" % (
            tokens,
            asked or LEAST,
            max(tokens // 256 * 256, 1),
        )
    else:
        text = "it takes %s of weights and work on %s, and %s of a device's %s are to be used" % (
            human(need),
            "each of %d devices" % most if most > 1 else "its device",
            human(usable),
            human(memory),
        )
        text += "; a quantised form of it takes a half or a quarter" if not model.get("quantization") else ""
    return Refusal(
        "model '%s' does not fit board '%s': %s; of this inventory %s. Nothing was written"
        % (name, board.get("board"), text, "it fits " + ", ".join(would) if would else "nothing has room for it")
    )


def free_port(services: Mapping[str, Any], taken: Iterable[int], asked: int) -> int:
    """A port that no row and no host of this run uses. Refusal where the one that is asked for is taken."""
    used = {int(port) for port in taken}
    for name, row in services.items():
        port = row.get("port") if isinstance(row, Mapping) else None
        if isinstance(port, int) and port == asked:
            raise Refusal(
                "port %d is that of service '%s'; ask for another one, or for none to have a free one" % (asked, name)
            )
        used.add(port if isinstance(port, int) else 0)
    if asked:
        if asked in used:
            raise Refusal(
                "port %d is used on a host of this run; ask for another one, or for none to have a free one" % asked
            )
        return asked
    found = next((port for port in PORTS if port not in used), None)
    if found is None:
        raise Refusal("no port from %d to %d is free; name one: -e port=..." % (PORTS[0], PORTS[-1]))
    return found


def service_name(model: str, board: str, services: Mapping[str, Any], wish: Wish) -> str:
    """The model's name, with the board where another board's row has it already."""
    if wish.name:
        return wish.name
    row = services.get(model)
    if isinstance(row, Mapping) and row.get("boards") and board not in row["boards"]:
        return "%s-%s" % (model, board)
    return model


def engine_args(model: Mapping[str, Any], kind: Mapping[str, Any], parsers: Iterable[str]) -> dict[str, Any]:
    """Options that follow from what the model is. `parsers`: tools/NAME and reasoning/NAME that the engine has; empty: not known."""
    args: dict[str, Any] = dict(kind.get("overrides") or {})
    have = set(parsers)
    if kind.get("reasoning_parser") and (not have or "reasoning/%s" % kind["reasoning_parser"] in have):
        args["reasoning_parser"] = kind["reasoning_parser"]
    if kind.get("tools") and (not have or "tools/%s" % kind["tools"] in have):
        args["enable_auto_tool_choice"] = True
        args["tool_call_parser"] = kind["tools"]
    if kind.get("vision"):
        args["allowed_media_domains"] = ["none.invalid"]
    return args


def propose(
    name: str,
    model: Mapping[str, Any],
    kind: Mapping[str, Any],
    board: Mapping[str, Any],
    boards: Mapping[str, Mapping[str, Any]],
    engines: Mapping[str, Mapping[str, Any]],
    services: Mapping[str, Any],
    taken: Iterable[int] = (),
    wish: Wish = Wish(),
    parsers: Iterable[str] = (),
) -> tuple[str, dict[str, Any], Outlook]:
    """(name, row, outlook) of a service. Refusal where the model does not fit, with what would.

    `kind`: fields of kinds.Kind; `boards`: those of the inventory by name; `engines`: rows of the table; `services`: rows there are, templates unresolved.
    """
    its, its_traits = str(board["board"]), traits(board, engines)
    if "one-model" in its_traits:
        raise Refusal(
            "no row can be proposed for board '%s' with engine '%s': its templates have the configuration of one model alone; "
            "write the row by hand, like those of the catalogue's services.yml" % (its, board["engine"])
        )
    called = service_name(name, its, services, wish)
    there = services.get(called)
    args = engine_args(model, kind, parsers)
    if board.get("kind") == "cpu":
        outlook, cache = on_cpu(model, board, str(kind["name"]), wish.context)
        sizes: dict[str, Any] = {"max_model_len": outlook.context, "kv_cache_memory_bytes": cache}
    else:
        found = on_devices(model, board, args, wish.context)
        if found is None:
            raise does_not_fit(name, model, board, boards, engines, args, wish.context)
        outlook = found
        sizes = {
            "tensor_parallel_size": outlook.devices,
            "max_model_len": outlook.context,
            "gpu_memory_utilization": UTILIZATION,
        }
    kept = there.get("port") if isinstance(there, Mapping) and not wish.port else None
    mine = {key: row for key, row in services.items() if key != called}
    port = (
        kept
        if isinstance(kept, int)
        else free_port(mine, [p for p in taken if not isinstance(there, Mapping) or p != there.get("port")], wish.port)
    )
    row: dict[str, Any] = {"model": name, "boards": [its], "port": port, "served_name": name}
    casts = model.get("dtype", "bfloat16") not in (board.get("dtypes") or ["bfloat16", "float16", "float32"])
    if casts:
        quantised = bool(model.get("quantization"))
        row["convert"] = (
            "float16"
            if "bfloat16" not in board["dtypes"] and not quantised and "casts-bfloat16" not in its_traits
            else False
        )
    row["engine_args"] = {**sizes, **args}
    return called, row, outlook


def name_of(repo: str) -> str:
    """A name for the tables, from a repository's or a folder's."""
    bare = re.sub(r"[^a-z0-9._-]+", "-", repo.rstrip("/").rpartition("/")[2].lower())
    name = re.sub(r"\.\.+", ".", bare).strip("-._")[:63].strip("-._")
    if not name or name == "all":
        raise Refusal("no name can be made of '%s'; give one: -e name=..." % repo)
    return name
