"""Faults behind and at the gateway under load: real HAProxy, stand-in engines on hosts of their own. Only requests in flight on what died may fail."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import runtime
from faulty import FAULTS, Site, bad, faulty_site
from gate import until

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with faulty_site(tmp_path / "g") as found:
        yield found


@pytest.mark.parametrize("fault", FAULTS)
def test_only_requests_in_flight_on_what_died_fail(site: Site, fault: str) -> None:
    with site.load() as load:
        time.sleep(1)
        moment = FAULTS[fault](site)
        time.sleep(2)
    assert all(outcome.began < moment for outcome in bad(load)), load.told()
    assert len(load.outcomes) > 50 and any(outcome.began > moment for outcome in load.outcomes)
    assert fault == "the gateway is killed" or site.elsewhere() == []


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process grows, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_stops_no_request_and_takes_nothing_out(site: Site, run_module: Any) -> None:
    """HAProxy can't write its log, and a run can't note what it takes out or that it is back."""
    site.gate.processes[0].terminate()
    site.gate.processes[0].wait(60)
    site.gate.log = Path("/dev/full")
    site.gate.processes[0] = site.gate.haproxy()
    until(lambda: runtime.worker(site.gate.api) and site.gate.status("here.one") == "UP", 60)

    def order(state: str) -> dict[str, Any]:
        given = {"folder": str(site.gate.folder), "backend": "here.one", "state": state}
        return dict(run_module("gateway_backend", given))

    with site.load() as load:
        time.sleep(2)
        with no_room():
            assert order("drained")["failed"] and site.gate.status("here.one") == "UP"
        assert order("drained")["changed"]
        with no_room():
            assert order("ready")["failed"]
        until(lambda: site.gate.status("here.one") == "UP", 60)  # it takes requests; what is left is the note
        assert order("ready")["changed"] and not order("ready")["changed"]
    load.whole()
