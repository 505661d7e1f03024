"""How far a long task is, told through a small file that others read while it runs."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Callable

from ansible.module_utils.serving.files import read_json, remove_tree
from ansible.module_utils.serving.processes import boot_id

STALE = 60  # seconds after which a file was left behind by a run that was killed


class Progress:
    """How far it is: a small file, for whoever asks while this process runs."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self.lock, self.writing = path, threading.Lock(), threading.Lock()
        self.state: dict[str, Any] = {"name": name, "phase": "waiting", "pid": os.getpid(), "began": time.time()}
        self.done = self.total = 0
        self.marks: list[tuple[float, int]] = []
        self.turn = 0  # how often it was written: what others see change, whatever their clocks say
        self.note: Callable[[], str] = str
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def __enter__(self) -> Progress:
        self.write()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        remove_tree(self.path)

    def begin(self, phase: str, total: int, source: str, note: Callable[[], str] = str) -> None:
        self.state.update(phase=phase, source=source)
        self.done, self.total, self.note = 0, total, note
        self.marks = []

    def add(self, count: int) -> None:
        with self.lock:
            self.done += count

    def set(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def loop(self) -> None:
        while not self.stop.wait(1):
            self.write()

    def write(self) -> None:
        with self.writing:
            self.write_now()

    def write_now(self) -> None:
        now = time.monotonic()
        self.turn += 1
        self.marks = [*self.marks[-15:], (now, self.done)]
        (then, before), seconds = self.marks[0], now - self.marks[0][0]
        rate = max(0.0, (self.done - before) / seconds) if then and seconds > 0 else 0.0
        left = (self.total - self.done) / rate if rate and seconds >= 8 else None
        clock = {"turn": self.turn, "tick": now, "boot": boot_id()}
        about = {
            **self.state,
            **clock,
            "done": self.done,
            "total": self.total,
            "rate": rate,
            "left": left,
            "note": self.note(),
        }
        try:
            with open(self.path + ".part", "w", encoding="utf-8") as out:
                json.dump(about, out)
            os.rename(self.path + ".part", self.path)
        except OSError:  # a full disk must not fail through its progress file; the work itself will say it
            pass


def read_progress(path: str) -> dict[str, Any] | None:
    """What a task that runs now says of itself; None if none does."""
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            return None
        return None if age(found, os.stat(path).st_mtime) > STALE else found
    except (OSError, ValueError):
        return None


def age(found: dict[str, Any], written: float) -> float:
    """Seconds since it was written: by the clock that can't be set, where this machine wrote it since it was started."""
    tick = found.get("tick")
    if found.get("boot") == boot_id() and isinstance(tick, (int, float)):
        return max(0.0, time.monotonic() - tick)
    return abs(time.time() - written)
