#!/usr/bin/env python3
"""Make a site, the operator's own folder: make site DIR=~/fleet, or scripts/make_site.py FOLDER.

Files that are there stay as they are, so a second run changes nothing; only the link to the product follows. Standard library only.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

PRODUCT = Path(__file__).resolve().parent.parent
LINKS = {"vllm-ansible": None, "playbooks": "vllm-ansible/playbooks"}


class Refused(Exception):
    """What stands in the way, in one sentence."""


def version() -> str:
    found = re.search(r'^version = "([^"]+)"', (PRODUCT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    return found[1] if found else "0"


def versions(text: str) -> str:
    """The range of versions in which no key goes away: 0.2.3 -> >=0.2,<0.3, and 1.2.3 -> >=1.2,<2."""
    major, minor = (int(part) for part in text.split(".")[:2])
    return f">={major}.{minor},<{f'0.{minor + 1}' if major == 0 else major + 1}"


def lead(folder: Path, name: str, target: str) -> str | None:
    """Make the link, or let it follow; what the operator put there instead, such as a clone, stays."""
    link = folder / name
    if link.is_symlink():
        if os.readlink(link) == target:
            return None
        if name == "vllm-ansible" and not (link / "catalogue").is_dir():
            link.unlink()  # it leads nowhere any more
        else:
            return None
    elif link.exists():
        return None
    link.symlink_to(target)
    return f"{name} -> {target}"


def make(folder: Path) -> list[str]:
    """Make or complete the site. Returns what was made. Raises Refused."""
    if folder == PRODUCT or PRODUCT in folder.parents:
        raise Refused(f"{folder} lies inside the product ({PRODUCT}); a site is a folder of its own, such as ~/fleet")
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is no folder; name another one")
    made = []
    words = {"@VERSION@": version(), "@VERSIONS@": versions(version())}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, given in LINKS.items():
            one = lead(folder, name, given or str(PRODUCT))
            made += [one] if one else []
        source = PRODUCT / "templates/site"
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            name = str(file.relative_to(source))
            target = folder / (".gitignore" if name == "gitignore" else name)
            if target.exists() or target.is_symlink():
                continue
            text = file.read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(word, value)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            made.append(str(target.relative_to(folder)))
    except OSError as error:
        raise Refused(
            f"{folder} can't be made ({error.strerror}: {error.filename}); name a folder that you may write"
        ) from None
    if folder.stat().st_mode & 0o002:
        raise Refused(
            f"everybody may write to {folder}, and Ansible reads no ansible.cfg there; run: chmod o-w {folder}"
        )
    return made


def main() -> int:
    if len(sys.argv) != 2 or not sys.argv[1].strip() or sys.argv[1].startswith("-"):
        print("say where: make site DIR=~/fleet", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1]).expanduser().absolute()
    try:
        made = make(folder)
    except Refused as problem:
        print(f"vllm-ansible: {problem}", file=sys.stderr)
        return 1
    print(
        "\n".join(
            [*(f"made {name}" for name in made), f"the site is {folder}" if made else f"{folder} is whole already"]
        )
    )
    if made:
        print(f'next: cd {folder}; export PATH="$PWD/vllm-ansible/.venv/bin:$PATH"; put hosts into inventory/hosts.yml')
    return 0


if __name__ == "__main__":
    sys.exit(main())
