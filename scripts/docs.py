#!/usr/bin/env python3
"""Write docs/variables.md from what the code declares: the tables' keys, settings, roles' argument_specs, modules' documentation.

python scripts/docs.py           # write
python scripts/docs.py --check   # exit 1 if the file on disk is not what would be written
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "variables.md"


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(text: Any) -> str:
    """Ansible's markup in Markdown's words, on one line."""
    lines = text if isinstance(text, list) else [text]
    joined = " ".join(" ".join(str(line).split()) for line in lines)
    joined = re.sub(r"\b[CVOPM]\(([^)]*)\)", r"`\1`", joined)
    return re.sub(r"\bRV\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|")


def default(value: Any) -> str:
    if value is ...:
        return "required"
    return (
        ""
        if value is None
        else f"`{yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix('...').strip()}`"
    )


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*lines, *("| " + " | ".join(cell or " " for cell in row) + " |" for row in rows), ""]


def options(rows: dict[str, Any]) -> list[str]:
    """A table of argument_specs or module options."""
    return table(
        ["name", "type", "default", "meaning"],
        [
            [
                f"`{name}`",
                row.get("type", "str"),
                default(... if row.get("required") else row.get("default")),
                plain(row["description"]),
            ]
            for name, row in rows.items()
        ],
    )


def settings(path: Path) -> list[str]:
    """Variables of a file with the comments above them."""
    rows, words = [], []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            words.append(line.lstrip("# "))
        elif match := re.match(r"([a-z_]+):", line):
            rows.append([f"`{match.group(1)}`", " ".join(words)])
            words = []
        elif not line.strip():
            words = []
    return table(["name", "meaning"], rows)


def render() -> str:
    plan, lint = load("filter_plugins/plan.py"), load("filter_plugins/lint.py")
    lines = [
        "# Variables",
        "",
        "Written by `python scripts/docs.py` from the code; a test compares. A site's own lie in its `inventory/`, the product's in `catalogue/`.",
        "",
        "## Tables",
        "",
        "Merge rule: the catalogue < the site's tables; then vendor < board < what the host changes of it < the board's `engines` row for",
        "the engine < service < a host's `overrides`. Dicts merge by key, lists replace, null removes what was there, at every depth; then",
        "the key has its default.",
        "",
    ]
    shared = set(plan.SHARED)
    for title, keys, note in (
        (
            "`services`: a row is a model with options",
            {k: v for k, v in plan.SERVICE.items() if k not in shared},
            "",
        ),
        ("What a service, a board and an override may all set", plan.SHARED, ""),
        (
            "`models`: what a model is",
            plan.MODEL,
            f"`shape` has the keys {', '.join(plan.SHAPE)}; `sources` {', '.join(plan.SOURCES)}.",
        ),
        (
            "`boards`: what a host computes with",
            {k: v for k, v in plan.BOARD.items() if k not in shared},
            "A host says `board: NAME`, or `board: {name: NAME, count: 2}` with changes.",
        ),
    ):
        lines += [f"### {title}", ""] + ([note, ""] if note else [])
        lines += table(
            ["key", "type", "default", "meaning"],
            [[f"`{n}`", k.type, default(k.default), plain(k.text)] for n, k in keys.items()],
        )
    lines += ["### Settings (`catalogue/settings.yml`)", "", *settings(ROOT / "catalogue/settings.yml")]
    lines += ["## What `validate` looks for", ""]
    words = {"pin": "warning; error with `require_pins`"}
    lines += table(
        ["rule", "severity", "finds"],
        [[f"`{r.name}`", words.get(r.severity, r.severity), plain(r.text)] for r in lint.RULES],
    )
    lines += ["## Roles", ""]
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for entry, spec in yaml.safe_load(path.read_text())["argument_specs"].items():
            name = path.parent.parent.name + ("" if entry == "main" else f", tasks_from {entry}")
            lines += [f"### {name}", "", plain(spec["short_description"]) + ".", "", *options(spec["options"])]
    lines += ["## Modules", "", "The whole manual of one: `ansible-doc -t module NAME`.", ""]
    for path in sorted((ROOT / "library").glob("*.py")):
        module = yaml.safe_load(load(str(path.relative_to(ROOT))).DOCUMENTATION)
        lines += [
            f"### {module['module']}",
            "",
            plain(module["short_description"]) + ".",
            "",
            *options(module["options"]),
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    # Modules import ansible.module_utils.serving, which Ansible puts together when it ships them.
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    text = render()
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text() != text)
    TARGET.write_text(text)
    print(f"{TARGET.relative_to(ROOT)}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
