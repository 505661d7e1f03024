"""Keys that an inventory gives: wrong ones are said before a host is touched, and never shown."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import load

k = load("filter_plugins/keys.py")
SERVICES: dict[str, Any] = {"demo": {}, "qwq-32b": {}, "open": {"api_key": False}}
GOOD = "0123456789abcdef"


def test_good_keys_are_no_problem() -> None:
    assert k.key_problems({"demo": GOOD, "qwq-32b": "sk-proj-Abc_d.e~f+g/h0123=="}, SERVICES) == []
    assert k.key_problems({}, SERVICES) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"dmeo": GOOD}, "did you mean 'demo'?"), ({"x": GOOD}, "there are: demo"), ({"open": GOOD}, "asks for no key"),
        ({"demo": "short"}, "5 characters"), ({"demo": 1234567890123456}, "int"), ({"demo": None}, "NoneType"), ({"demo": GOOD + "\n"}, "17 characters"),
        ({"demo": "with white space in it"}, "a header takes"), ({"demo": {"file": "x"}}, "dict"),
        ([GOOD], "must be a mapping"), ("secret-of-the-site", "str"),
    ],
)  # fmt: skip
def test_a_wrong_one_is_a_sentence_without_the_key(keys: Any, words: str) -> None:
    [problem] = k.key_problems(keys, SERVICES)
    assert words in problem
    for key in keys.values() if isinstance(keys, dict) else [keys]:
        assert not isinstance(key, str) or key.strip() not in problem


def test_the_plan_refuses_it_before_any_host(playbook: Any) -> None:
    done = playbook("playbooks/validate.yml", "-e", '{"api_keys": {"demo": "too short"}}')
    assert (
        done.returncode != 0
        and "openssl rand -hex 32" in " ".join(done.stdout.split())
        and "too short" not in done.stdout
    )
