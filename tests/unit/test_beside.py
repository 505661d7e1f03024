"""One backend alone is upgraded under load: its new release answers beside it while it is swapped. Real playbooks, a stand-in engine, a real HAProxy."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate import until
from gated import Fleet, fleet_of

UP = {"one.demo": "UP"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Fleet]:
    with fleet_of(tmp_path_factory.mktemp("f"), tools, {"one": {"runs": ["demo"]}}, beside=True) as fleet:
        fleet.play("deploy.yml")
        until(lambda: fleet.states() == UP, 60)
        yield fleet


def left(fleet: Fleet) -> list[str]:
    """What is deployed on the host."""
    return [name for name in os.listdir(fleet.root("one") / "services") if not name.startswith(".")]


@pytest.mark.slow
def test_one_backend_is_upgraded_and_nobody_notices(served: Fleet) -> None:
    first = served.release("one")
    with served.load() as load:
        told = served.play("playbooks/upgrade.yml", stub_row="b")
    assert "other backends answered its callers" in told and "does not fit twice" not in told
    assert (
        served.release("one") != first and served.states() == UP and served.out() == set() and left(served) == ["demo"]
    )
    load.whole()


@pytest.mark.soak
def test_a_release_that_does_not_answer_leaves_the_old_one_as_it_was(served: Fleet) -> None:
    before = served.pid("one")
    with served.load() as load:
        told = served.play("playbooks/upgrade.yml", stub_mode="crash", ok=False)
    assert "demo was not upgraded" in told and served.pid("one") == before
    assert served.states() == UP and served.out() == set() and left(served) == ["demo"]
    load.whole()


@pytest.mark.soak
def test_what_a_killed_run_has_left_beside_it_ends_with_the_next_one(served: Fleet) -> None:
    first = served.release("one")
    with served.load() as load:
        process = served.start("playbooks/upgrade.yml", stub_row="c")
        until(lambda: served.states().get("one.demo-beside") == "UP", 300)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        served.play("playbooks/upgrade.yml", stub_row="c")
    assert (
        served.release("one") != first and served.states() == UP and served.out() == set() and left(served) == ["demo"]
    )
    load.whole()
