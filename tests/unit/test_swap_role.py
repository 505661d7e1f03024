"""Role swap behind two gateways: out of both, or of none."""

from __future__ import annotations

import contextlib
import http.client
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import drains, runtime
from gate import BACKEND_KEY, KEY, Engine, Gate, record, until
from services import Host, host_fixture
from swapped import swapped

host = pytest.fixture(host_fixture)


def ask(gate: Gate) -> None:
    with contextlib.suppress(http.client.HTTPException, OSError):  # the test ends before it is answered
        gate.chat(stub_seconds=50)


@pytest.mark.slow
def test_what_one_gateway_can_not_give_up_stays_in_the_other_one(host: Host, tmp_path: Path) -> None:
    """A request through the second one takes longer than a run waits."""
    host.service(key=BACKEND_KEY)
    before, other, row = host.process(), Engine("two"), SimpleNamespace(port=host.port, model="demo")
    rows: list[Any] = [record(row, "here"), record(other, "here", service="two")]  # type: ignore[arg-type]
    gates = [Gate(tmp_path / name, rows, {"team": {"keys": [KEY]}}) for name in ("g0", "g1")]
    try:
        until(lambda: all(gate.status(name) == "UP" for gate in gates for name in ("here.demo", "here.two")))
        for busy in (1, 2):  # one on each backend; asked at once, HAProxy's threads may choose the same one
            threading.Thread(target=ask, args=[gates[1]], daemon=True).start()
            until(lambda busy=busy: sum(1 for row in runtime.servers(gates[1].api) if row["sessions"]) == busy)
        done = swapped(tmp_path, host.root, gates, swap_state="restarted", gateway_drain_seconds=1)
        assert done.returncode != 0 and "still has requests after 1 s" in done.stdout, done.stdout + done.stderr
        assert host.process() == before
        for gate in gates:
            assert gate.status("here.demo") == "UP" and drains.read(str(gate.folder))[0] == {}
    finally:
        for gate in gates:
            gate.processes[0].kill()  # its requests need not end
            gate.close()
        other.stop()
