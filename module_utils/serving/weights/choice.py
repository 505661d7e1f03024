"""Which of a model's files are loaded, and which are left out: one rule for hubs and folders.

Decided from names, sizes and the few small files that say more, before any weights are read or fetched.
In each folder an index says which shards are loaded; without one all safetensors of that folder are. Where there are
safetensors or an index, other forms of the same weights are left out. Folders are parts of a model: what is a
duplicate in one of them says nothing about another.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import posixpath
import re
from typing import Callable, Iterable, Mapping, NamedTuple

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.weights.headers import weight_map

SMALL = 1024  # bytes; a Git LFS pointer has about 130
READ_LIMIT = 64 << 20  # bytes of an index or a configuration

JUNK = re.compile(
    r"\.git.*|\.cache|__pycache__|\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.ipynb_checkpoints|\.hg|\.svn|\.idea|\.vscode"
    r"|__MACOSX|\.nfs[0-9a-f]+|\.Trash.*|lost\+found|\.locks|\.no_exist|\.msc|\.mv|\.mdl|\.huggingface|@eaDir|\.snapshot"
    r"|\.Spotlight-V100|\.fseventsd|\.apdisk|.*~|\..*\.sw[a-p]"
)
# Names that unfinished downloads have, ours and others'.
UNFINISHED = re.compile(r".*\.(part|journal|head|incomplete|aria2|crdownload|download|part\.\d+)")
# Subfolders that hold the same weights for another engine, or as their publisher trained them.
OTHER_FOLDERS = {
    "original": "the publisher's own form of the same weights",
    "metal": "for another engine",
    "onnx": "for another engine",
    "openvino": "for another engine",
    "coreml": "for another engine",
    "tflite": "for another engine",
    "gguf": "for another engine",
    "flax": "for another engine",
}
CHECKPOINT = re.compile(r"(checkpoint-|global_step|epoch[-_])\d+")
OTHER_ENGINES = re.compile(
    r".*\.(onnx|onnx_data|onnx\.data|onnx_data_\d+|gguf|ggml|msgpack|h5|tflite|ot|mlmodel|pte|nemo|llamafile)(\.index\.json)?"
    r"|openvino.*\.(bin|xml)|.*\.ckpt\.(index|meta|data-.*)"
)
PICKLED = re.compile(r".*\.(bin|pth|ckpt)(\.index\.json)?")
TRAINING = re.compile(
    r"(optimizer|scheduler|scaler)\.(pt|bin|pth)|rng_state.*\.pth|training_args\.bin|.*_optim_states\.pt|.*_model_states\.pt|events\.out\.tfevents.*"
)
VARIANT = re.compile(r"(.*)\.((fp|bf|int|nf)\d+\w*|\d+bit|((non|no)_)?ema)")
NUMBERED = re.compile(r"(.*?)[-_.](\d+)-of-(\d+)(.*\.(?:safetensors|bin|pth|gguf))")
INDEX = re.compile(r"(.*)\.safetensors\.index(\.\w+)?\.json")
BIN_INDEX = ".bin.index.json"
WEIGHTS = re.compile(
    r".*\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|onnx|h5|msgpack|npz|nemo|pdparams|tflite|engine|pkl|mlmodel|ot|pte|llamafile)"
)
MODEL = re.compile(
    r"(pytorch_)?model([-_.].*)?\.(safetensors|bin)"
)  # names that the weights of a model have beside its config.json
ADAPTER = re.compile(r"adapter_.*\.(safetensors|bin)")
CONFIGS = ("config.json", "params.json", "model_index.json", "adapter_config.json", "modules.json")
LFS = b"version https://git-lfs.github.com/spec/"

Read = Callable[[str], bytes]


class Wanted(NamedTuple):
    """What models.yml says of a model's files: patterns that keep and patterns that leave out. The latter win."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, list[str]]:
        """As it is recorded; empty where models.yml says nothing."""
        return {key: sorted(value) for key, value in self._asdict().items() if value}


@dataclasses.dataclass(frozen=True)
class Choice:
    """The names to take, what is left out with its reason, and what is odd, in sentences."""

    kept: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()


def is_junk(name: str) -> bool:
    """Is it left behind by an editor, a system or a client, and no part of any model?"""
    return any(JUNK.fullmatch(part) for part in name.split("/"))


def matches(name: str, patterns: Iterable[str]) -> str | None:
    """The first pattern that names this file: its whole name, as it is or with wildcards, or a folder of it (`original`, `original/`)."""
    for pattern in patterns:
        if pattern == name or fnmatch.fnmatchcase(name, pattern) or name.startswith(pattern.rstrip("/") + "/"):
            return pattern
    return None


def choose(sizes: Mapping[str, int], read: Read, wanted: Wanted = Wanted(), local: bool = False) -> Choice:  # noqa: B008
    """What to take of the files {name: bytes}. `read` gives the content of a small one; `local`: reading costs nothing.

    Refusal where what is left can't be a whole model.
    """
    picker = Picker({name: size for name, size in sizes.items() if not is_junk(name)}, read, wanted, local)
    picker.leave_what_is_named()
    picker.leave_other_forms()
    for folder in sorted({posixpath.dirname(name) for name in picker.kept}):
        picker.decide(folder)
    picker.choose_gguf()
    picker.check()
    return Choice(tuple(sorted(picker.kept)), picker.left, tuple(picker.notes))


class Picker:
    """The files that are still in, and why the others are out."""

    def __init__(self, sizes: dict[str, int], read: Read, wanted: Wanted, local: bool) -> None:
        self.sizes, self.read, self.wanted, self.local = sizes, read, wanted, local
        self.kept = set(sizes)
        self.left: dict[str, str] = {}
        self.notes: list[str] = []
        self.named: set[str] = set()  # shards that an index names

    def leave(self, names: Iterable[str], why: str) -> None:
        """Leave these out, unless `include` asks for them."""
        for name in list(names):
            if name in self.kept and not matches(name, self.wanted.include):
                self.kept.discard(name)
                self.left[name] = why

    def leave_what_is_named(self) -> None:
        for key, pattern in [(key, pattern) for key, patterns in self.wanted._asdict().items() for pattern in patterns]:
            if not is_junk(pattern) and not any(matches(name, [pattern]) for name in self.sizes):
                self.notes.append("%s '%s' of models.yml matches no file" % (key, pattern))
        for name in sorted(self.sizes):
            excluded = matches(name, self.wanted.exclude)
            if excluded:
                self.kept.discard(name)
                self.left[name] = "excluded by '%s' in models.yml" % excluded
        self.leave((n for n in self.sizes if UNFINISHED.fullmatch(posixpath.basename(n))), "an unfinished download")

    def safetensors(self) -> list[str]:
        return sorted(name for name in self.kept if name.endswith(".safetensors"))

    def leave_other_forms(self) -> None:
        """Subfolders and files for other engines, where the model has safetensors, an index or PyTorch's file outside of them."""

        def aside(name: str) -> str | None:
            for part in name.split("/")[:-1]:
                if part in OTHER_FOLDERS:
                    return OTHER_FOLDERS[part]
                if CHECKPOINT.fullmatch(part):
                    return "a checkpoint of the training"
            return None

        def decides(name: str) -> bool:
            ours = name.endswith((".safetensors", BIN_INDEX)) or name == "pytorch_model.bin" or INDEX.fullmatch(name)
            return bool(ours) and not aside(name)

        if not any(map(decides, self.kept)):
            return
        for name in sorted(self.kept):
            why = aside(name)
            if why:
                self.leave([name], why)
        self.leave((n for n in self.kept if OTHER_ENGINES.fullmatch(posixpath.basename(n))), "for another engine")

    def decide(self, folder: str) -> None:
        """The weights of one folder."""
        here = {posixpath.basename(name): name for name in self.kept if posixpath.dirname(name) == folder}
        below = [n for n in self.safetensors() if not folder or n.startswith(folder + "/")]
        tensors = [base for base in here if base.endswith(".safetensors")]
        parts = "model_index.json" in here and not {"config.json", "params.json"} & set(here)
        if parts and any(posixpath.dirname(n) != folder for n in below):
            single = [here[b] for b in here if b.endswith((".safetensors", ".ckpt", ".bin", ".pth"))]
            self.leave(single, "in one file what the subfolders hold")
            tensors = []
        self.leave_second_forms(folder, here, tensors)
        self.follow_index(folder, here)
        pickled = {b for b in here if PICKLED.fullmatch(b)}
        training = {b for b in here if TRAINING.fullmatch(b)}
        whole = any(here[base] in self.kept for base in tensors) or bool(not tensors and below and parts)
        if whole or any(here[b] in self.kept for b in pickled - training):
            self.leave((here[b] for b in training), "state of the training")
        if whole:
            self.leave((here[b] for b in pickled), "another form of the safetensors beside it")

    def leave_second_forms(self, folder: str, here: dict[str, str], tensors: list[str]) -> None:
        """Mistral's own form beside the usual one; variants such as fp16; shards without an index beside one file."""
        adapters = {base for base in tensors if base.startswith("adapter_")}
        own = {base for base in here if base.startswith("consolidated") and (base in tensors or INDEX.fullmatch(base))}
        indexes = {base for base in here if INDEX.fullmatch(base)} - own
        if own and "config.json" in here and (set(tensors) - adapters - own or indexes):
            self.leave((here[base] for base in own), "Mistral's own form of the safetensors beside it")
        stems = {base: NUMBERED.sub(r"\1\4", base)[: -len(".safetensors")] for base in tensors}
        stems.update({b: m.group(1) + (m.group(2) or "") for b in here for m in [INDEX.fullmatch(b)] if m})
        plain = set(stems.values())
        for base, stem in sorted(stems.items()):
            match = VARIANT.fullmatch(stem)
            if match and match.group(1) in plain:
                self.leave([here[base]], "variant '%s' of the safetensors beside it" % match.group(2))
        if "config.json" in here and any(MODEL.fullmatch(base) for base in here):
            beside = [here[b] for b in here if ADAPTER.fullmatch(b) and (b.endswith(".bin") or not indexes)]
            self.leave(beside, "an adapter, which vLLM would load as weights of the model beside it")
        if not indexes:
            for base in tensors:
                match = NUMBERED.fullmatch(base)
                if match and match.group(1) + ".safetensors" in tensors:
                    why = "shards without an index beside %s.safetensors" % match.group(1)
                    self.leave([here[base]], why)

    def follow_index(self, folder: str, here: dict[str, str]) -> None:
        """Only what the indexes of this folder name is loaded."""
        for end, ending in ((".safetensors", INDEX), (".bin", re.compile(r".*\.bin\.index\.json"))):
            indexes = sorted(here[b] for b in here if ending.fullmatch(b) and here[b] in self.kept)
            if end == ".bin" and any(b.endswith(".safetensors") and here[b] in self.kept for b in here):
                continue
            if not indexes:
                continue
            there = {here[b] for b in here if b.endswith(end) and here[b] in self.kept and not b.startswith("adapter_")}
            if not self.local and len(indexes) == 1 and is_whole_set(there):
                continue  # the index can leave none of them out; it is read when it has come with the others
            named: set[str] = set()
            for index in indexes:
                named |= self.shards_of(index, end)
            self.named |= named
            self.leave(there - named, "%s does not name it" % posixpath.basename(indexes[0]))

    def shards_of(self, index: str, end: str) -> set[str]:
        """The shards that an index names. Refusal where one of them is not among what is taken, or of another form."""
        folder, text = posixpath.dirname(index), self.read(index)
        if text.startswith(LFS):
            raise Refusal(pointer(index))
        shards = {posixpath.normpath(posixpath.join(folder, s)) for s in weight_map(text, index).values()}
        lost = sorted(shards - self.kept)
        if lost and lost[0] in self.left:
            raise Refusal(
                "%s names %s, which is left out (%s); keep both or exclude both in models.yml"
                % (index, lost[0], self.left[lost[0]])
            )
        stale = [(shard, "shard that is there") for shard in lost]
        stale += [(shard, "%s file" % end) for shard in sorted(shards) if not shard.endswith(end)]
        if stale:
            raise Refusal(
                "%s names %s, which is no %s; restore it, or leave out a stale index by `exclude` in models.yml"
                % (index, *stale[0])
            )
        return shards

    def choose_gguf(self) -> None:
        """A folder of GGUF files holds a whole model in each: `include` names the one to take."""
        if self.safetensors():
            return
        beside = ("mmproj", "imatrix")  # a projector of images, and statistics that no engine loads
        files = [n for n in sorted(self.kept) if n.endswith(".gguf") and not posixpath.basename(n).startswith(beside)]
        asked = [name for name in files if matches(name, self.wanted.include)]
        if asked:
            self.leave(files, "another GGUF file is asked for in models.yml")
            return
        models = {NUMBERED.sub(r"\1", name) for name in files}
        if len(models) > 1:
            self.notes.append(
                "it has %d GGUF models, %s in all; name the one to take by `include` in models.yml, like '%s'"
                % (len(models), human(sum(self.sizes[name] for name in files)), files[0])
            )

    def check(self) -> None:
        """Refuse what can't be a whole model."""
        sets: dict[tuple[str, ...], dict[int, str]] = {}
        for name in sorted(self.kept - self.named):
            match = NUMBERED.fullmatch(name)
            if match:
                before, number, total, after = match.groups()
                sets.setdefault((before, total, after), {})[int(number)] = name
        whole: dict[tuple[str, str], str] = {}
        for (before, total, after), numbers in sorted(sets.items()):
            count, first = int(total), 0 if 0 in numbers else 1
            if len(numbers) > count:
                raise Refusal(
                    "%s says that there are %d shards, and %d are there; leave those of another set out by `exclude` in models.yml"
                    % (numbers[min(numbers)], count, len(numbers))
                )
            if len(numbers) != count or min(numbers) != first or max(numbers) != first + count - 1:
                one = next(iter(numbers.values()))
                lost = next((n for n in range(first, first + len(numbers) + 1) if n not in numbers), 0)
                raise Refusal(
                    "%s is one of %d shards, of which %d are there (number %d is missing); restore the others, "
                    "or leave these out by `exclude` in models.yml" % (one, count, len(numbers), lost)
                )
            other = whole.setdefault((before, after), numbers[first])
            if other != numbers[first] and not after.endswith(".gguf"):
                raise Refusal(
                    "%s and %s begin two sets of shards, and no index says which one is loaded; leave one set out by "
                    "`exclude` in models.yml" % (other, numbers[first])
                )
        gguf = [name for name in self.kept if name.endswith(".gguf")]
        if not gguf and not any(name in self.kept for name in CONFIGS):
            inside = sorted({n.split("/")[0] for n in self.kept if posixpath.basename(n) in CONFIGS and "/" in n})
            raise Refusal(
                "it has no config.json%s, so no engine can load it; %s"
                % (
                    " (left out: %s)" % self.left["config.json"] if "config.json" in self.left else "",
                    "is its subfolder %s the model?" % ", ".join(inside[:5])
                    if inside
                    else "give the folder or repository of a whole model",
                )
            )
        weights = [name for name in sorted(self.kept) if WEIGHTS.fullmatch(name)]
        if not weights:
            self.notes.append(
                "it has no weights that we know by name (*.safetensors, *.bin, *.gguf ...)%s"
                % ("; left out: %s" % "; ".join(words(self.left, self.sizes))[:300] if self.left else "")
            )
        elif (
            {"config.json", "model_index.json"} & self.kept == {"config.json"}
            and not gguf
            and all("/" in name for name in weights)
        ):
            self.notes.append("its weights lie in subfolders alone (%s), where vLLM does not look" % weights[0])
        empty = next((name for name in weights if not self.sizes[name]), None)
        if empty:
            raise Refusal(
                "%s is empty; fetch it again at the source, or leave it out by `exclude` in models.yml" % empty
            )
        for name in sorted(self.kept) if self.local else weights:
            if 0 < self.sizes[name] <= SMALL and self.read(name).startswith(LFS):
                raise Refusal(pointer(name))
        if self.local and "config.json" in self.kept and not is_object(self.read("config.json")):
            raise Refusal("config.json is no JSON object, so no engine can load it; restore it at the source")


def is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def pointer(name: str) -> str:
    return "%s is a Git LFS pointer, not the file itself; run `git lfs pull` at the source, or fetch it anew" % name


def variants(one: str, other: str) -> bool:
    """Are two safetensors files of a folder variants of the same weights, such as `model` and `model.fp16`?"""
    stems = {name[: -len(".safetensors")] for name in (one, other)}
    return any(match and match.group(1) in stems for match in map(VARIANT.fullmatch, stems))


def is_whole_set(names: Iterable[str]) -> bool:
    """Are these all shards of one numbered set, and nothing else?"""
    found = [match.groups() for match in map(NUMBERED.fullmatch, names) if match]
    numbers = sorted(int(number) for _, number, _, _ in found)
    same = {(before, total, after) for before, _, total, after in found}
    count = len(found)
    return len(same) == 1 and count == len(list(names)) == int(found[0][2]) and numbers[-1] - numbers[0] + 1 == count


def words(left_out: Mapping[str, str], sizes: Mapping[str, int]) -> list[str]:
    """What is left out, a line for each reason and folder, with sizes."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, why in sorted(left_out.items()):
        groups.setdefault((why, posixpath.dirname(name)), []).append(name)
    lines = []
    for (why, folder), names in groups.items():
        size = human(sum(sizes.get(name, 0) for name in names))
        if len(names) == 1:
            lines.append("%s (%s: %s)" % (names[0], size, why))
        else:
            more = ", ..." if len(names) > 2 else ""
            shown = "%s/" % folder if folder and len(names) > 2 else ", ".join(names[:2]) + more
            lines.append("%s (%d files, %s: %s)" % (shown, len(names), size, why))
    return lines
