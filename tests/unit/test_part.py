"""A file that is being fetched: kills, journals and parts that are damaged cost no more than they must."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.weights import listing, manifests
from ansible.module_utils.serving.weights import part as part_module
from ansible.module_utils.serving.weights.part import Part
from conftest import start_module
from fetched import KINDS, Run, arguments, fetch, make_model, model_fixture, same_as, visible
from hub import Hub

model = pytest.fixture(scope="module")(model_fixture)


@pytest.mark.parametrize("convert", [None, "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_the_next_run_goes_on(
    run_module: Run, tmp_path: Path, kind: str, convert: str | None, request: Any
) -> None:
    """Rounds of kill -9: nothing wrong is ever visible, and no round starts over."""
    folder = tmp_path / "model"
    folder.mkdir()
    make_model(folder, 12_000_000)
    hub = Hub(folder)
    hub.trouble.bytes_per_second = 4_000_000
    root = tmp_path / "models"
    args = arguments(hub, root, kind, convert=convert)
    rounds, dice = request.config.getoption("--rounds") // 4, random.Random(3)
    done = 0
    try:
        while done < rounds:
            process = start_module("weights_fetch", args)
            time.sleep(dice.uniform(0.8, 2.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
            for name in visible(root):
                published = root / name
                assert not manifests.damage(
                    str(published), json.loads((published / manifests.MANIFEST).read_text()), full=True
                )
            if visible(root):
                subprocess.run(["rm", "-rf", str(root)], check=True)
        hub.trouble.bytes_per_second = 0
        result = fetch(run_module, hub, root, kind, convert=convert)
        assert not result["failed"], result
        clean = fetch(run_module, hub, tmp_path / "clean", kind, convert=convert)
        assert clean["identity"] == result["identity"]
        if not convert:
            same_as(folder, Path(result["path"]))
    finally:
        hub.close()


def killed_after(count: int, hub: Hub, root: Path, convert: str | None) -> None:
    """A fetch that gets kill -9 when so many bytes have come."""
    hub.trouble.bytes_per_second = 500_000
    process = start_module("weights_fetch", arguments(hub, root, convert=convert))
    while sum(hub.sent.values()) < count:
        time.sleep(0.05)
    process.kill()
    process.wait()
    hub.trouble.bytes_per_second = 0


@pytest.mark.parametrize("convert", [None, "float16"])
def test_after_kill_9_only_what_is_missing_is_asked_for(
    run_module: Run, hub: Hub, tmp_path: Path, convert: str | None
) -> None:
    from ansible.module_utils.serving.weights.converted import ConvertedPart

    killed_after(7_000_000, hub, tmp_path, convert)
    time.sleep(0.5)  # for the server to notice
    hub.sent.clear()
    missing = 0
    for path in tmp_path.glob(".m*.partial/*.part"):
        path = path.with_suffix("")
        data = (hub.folder / path.name).read_bytes()
        entry = listing.Entry(path.name, len(data), sha256=hashlib.sha256(data).hexdigest(), url="http://x")
        part = ConvertedPart(str(path), entry, None, False) if convert else Part(str(path), entry)  # type: ignore[arg-type]
        part.prepare()
        part.load()
        missing += sum(end - start for start, end in part.missing())
    assert 0 < missing < 3_000_000
    assert not fetch(run_module, hub, tmp_path, convert=convert)["failed"]
    assert sum(sent for name, sent in hub.sent.items() if name.endswith(".safetensors")) == missing


def test_two_processes_fetch_once(hub: Hub, tmp_path: Path) -> None:
    hub.trouble.bytes_per_second = 3_000_000
    both = [start_module("weights_fetch", arguments(hub, tmp_path)) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert sum(hub.sent.values()) == sum((hub.folder / n).stat().st_size for n in hub.names() if n != ".gitattributes")


def test_a_part_of_an_earlier_boot_counts_only_as_far_as_it_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = listing.Entry("x", 1000, sha256="1" * 64, url="http://x")
    part = Part(str(tmp_path / "x"), entry)
    monkeypatch.setattr(part_module, "SYNC_EVERY", 300)
    part.open()
    for offset in (0, 100, 200, 600):
        part.add(offset, memoryview(b"a" * 100))
    part.close()
    again = Part(str(tmp_path / "x"), entry)
    again.open()
    assert again.missing() == [(300, 600), (700, 1000)]
    again.close()
    monkeypatch.setattr(part_module, "boot_id", lambda: b"another boot")
    again.open()
    assert again.missing() == [(300, 1000)]
    again.close()
    other = Part(str(tmp_path / "x"), listing.Entry("x", 1000, sha256="2" * 64, url="http://x"))
    other.open()
    assert other.missing() == [(0, 1000)]
    other.close()


@pytest.mark.parametrize("cut", range(0, 260, 13))
def test_a_torn_or_damaged_journal_never_claims_what_is_not_there(tmp_path: Path, cut: int) -> None:
    entry = listing.Entry("x", 1000, sha256="1" * 64, url="http://x")
    part = Part(str(tmp_path / "x"), entry)
    part.open()
    for offset in (0, 100, 200):
        part.add(offset, memoryview(b"a" * 100))
    part.close()
    log = tmp_path / "x.journal"
    log.write_bytes(log.read_bytes()[:cut] + b"\0" * 40)
    again = Part(str(tmp_path / "x"), entry)
    again.open()
    assert again.missing()[-1][1] == 1000 and again.missing()[0][0] in (0, 100, 200, 300)
    again.close()


RECORD = Part.RECORD


def cut_off(run_module: Run, hub: Hub, root: Path, convert: str | None) -> list[Path]:
    """Journals of a fetch that was killed half way."""
    killed_after(2_500_000, hub, root, convert)
    return sorted(root.glob(".m*.partial/*.safetensors.journal"))


def records(log: Path) -> list[tuple[bytes, int, int, bytes]]:
    data, found, at = log.read_bytes(), [], 0
    while at + RECORD.size <= len(data):
        tag, a, b, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        found.append((tag, a, b, data[at : at + length]))
        at += length
    return found


def rewrite(log: Path, change: Callable[[bytes, int, int, bytes], tuple[int, int, bytes]]) -> None:
    out = b""
    for tag, a, b, text in records(log):
        if tag == b"have":
            a, b, text = change(tag, a, b, text)
        out += RECORD.pack(tag, a, b, len(text)) + text
    log.write_bytes(out)


DAMAGE: dict[str, Callable[[bytes, int, int, bytes], tuple[int, int, bytes]]] = {
    "beyond the end": lambda _t, a, b, text: (a, b + (1 << 40), text),
    "turned around": lambda _t, a, b, text: (b, a, text),
    "no codes": lambda _t, a, b, text: (a, b, b""),
    "fewer codes": lambda _t, a, b, text: (a, b, text[: len(text) // 4 * 2]),
    "an odd byte": lambda _t, a, b, text: (a, b, text + b"\0"),
    "shifted": lambda _t, a, b, text: (a + 1, b + 1, text),
    "other codes": lambda _t, a, b, text: (a, b, bytes(255 - byte for byte in text)),
}


@pytest.mark.parametrize(
    ("convert", "how"), [*(("float16", how) for how in DAMAGE), (None, "beyond the end"), (None, "shifted")]
)
def test_a_damaged_journal_costs_its_file_once(
    run_module: Run, hub: Hub, tmp_path: Path, how: str, convert: str | None
) -> None:
    """The same run fetches the file anew, and publishes what a clean one does."""
    logs = cut_off(run_module, hub, tmp_path, convert)
    assert logs
    for log in logs:
        rewrite(log, DAMAGE[how])
    result = fetch(run_module, hub, tmp_path, convert=convert)
    assert not result["failed"], result
    assert result["identity"] == fetch(run_module, hub, tmp_path / "clean", convert=convert)["identity"]
    assert not [p for p in Path(result["path"]).rglob("*") if p.name.endswith((".journal", ".part", ".head"))]


@pytest.mark.parametrize("what", ["part", "head", "journal"])
@pytest.mark.parametrize("convert", ["float16", None])
def test_unfinished_files_with_other_bytes_cost_their_file_once(
    run_module: Run, hub: Hub, tmp_path: Path, what: str, convert: str | None
) -> None:
    dice = random.Random(5)
    cut_off(run_module, hub, tmp_path, convert)
    for path in tmp_path.glob(f".m*.partial/*.safetensors.{what}"):
        data = bytearray(path.read_bytes())
        for _ in range(200):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
    result = fetch(run_module, hub, tmp_path, convert=convert)
    assert not result["failed"], result
    assert result["identity"] == fetch(run_module, hub, tmp_path / "clean", convert=convert)["identity"]


def test_what_was_damaged_is_said_once(hub: Hub, run_module: Run, tmp_path: Path) -> None:
    for log in cut_off(run_module, hub, tmp_path, "float16"):
        rewrite(log, DAMAGE["no codes"])
    for expected in (True, False):
        process = start_module("weights_fetch", arguments(hub, tmp_path, convert="float16"))
        result = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
        said = [text for text in result.get("warnings", []) if "fetched anew" in str(text)]
        assert bool(said) == expected, [result.get("warnings"), sorted(result)]
