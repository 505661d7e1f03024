"""Variables of a service's process: names, values, what is reserved, and secrets, which no sentence shows."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import pytest
from conftest import ROOT, load
from hypothesis import given
from hypothesis import strategies as st

load("filter_plugins/plan.py")
from planning import environment  # noqa: E402
from planning.rows import Faults  # noqa: E402


class AnsibleInt(int):
    """Values of Ansible's variables have types of its own."""


@pytest.mark.parametrize("name", ["my-var", "X; touch f #", "1X", "", "A B", "A=B", "ä", "A\n", "$(id)", 7, True, None])
def test_what_is_no_name_is_refused(name: Any) -> None:
    for check in (
        lambda: environment.check_env("here", {name: "1"}),
        lambda: environment.check_secrets("here", {name: "12345678"}, {}),
    ):
        with pytest.raises(Faults, match="is no name of a variable"):
            check()


@pytest.mark.parametrize(
    ("name", "key"),
    [("VLLM_API_KEY", "'api_key'"), ("CUDA_VISIBLE_DEVICES", "'devices'"), ("PATH", "native_env"), ("USE_FLAGGEMS", "'flaggems'"),
     ("VLLM_SERVER_DEV_MODE", "change the server"), ("PYTHONPATH", "activate"), ("TMPDIR", "folder of its own")],
)  # fmt: skip
def test_what_a_key_of_the_row_stands_for_is_refused(name: str, key: str) -> None:
    for check in (
        lambda: environment.check_env("here", {name: "1"}),
        lambda: environment.check_secrets("here", {name: "12345678"}, {}),
    ):
        with pytest.raises(Faults, match="can't be set there") as error:
            check()
        assert key in str(error.value)


def test_every_variable_that_a_template_sets_is_reserved_or_no_secret() -> None:
    """What a template comes to set is looked at here: secret_env is read last, and would replace it where nobody sees."""
    files = [path for path in (ROOT / "templates").rglob("*.j2") if path.parent.parent.name != "report"]
    lines = [line for path in files for line in path.read_text().splitlines()]
    exports = [line for line in lines if line.startswith("export ") and "{{ name }}" not in line]
    assert len(exports) > 20
    set_there = {name for line in exports for name in re.findall(r"(?:^export | )([A-Z][A-Z0-9_]+)(?==|$| )", line)}
    assert {"ASCEND_RT_VISIBLE_DEVICES", "HF_HOME", "CUDA_VISIBLE_DEVICES"} <= set_there
    assert sorted(set_there - set(environment.RESERVED) - environment.SHOWN) == []
    for name in set_there:
        with pytest.raises(Faults, match="can't be set there"):
            environment.check_secrets("here", {name: "hunter2-hunter2"}, {})


def test_what_follows_from_a_row_is_no_secret() -> None:
    """A board's variables where nothing is compiled, the engine's switch of adapters."""
    with pytest.raises(Faults, match=r"secret_env\.SWITCH can't be set there.*leave it out, or set it in env"):
        environment.check_secrets("here", {"SWITCH": "hunter2-hunter2"}, {}, {"SWITCH": "1"})
    assert environment.check_secrets("here", {"A": "hunter2-hunter2"}, {}, {"SWITCH": "1"}) == {"A": "hunter2-hunter2"}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "1"), (False, "0"), (3, "3"), (0.5, "0.5"), ("off", "off"), ("", ""), ("a\nb", "a\nb")]
)
def test_values_are_text_as_the_engine_reads_it(value: Any, text: str) -> None:
    assert environment.check_env("here", {"A": value})[0] == {"A": text}


@pytest.mark.parametrize("value", [[1], {"a": 1}, "a\0b", b"x", "a\ud800b"])
def test_what_no_variable_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(Faults, match=r"env\.A"):
        environment.check_env("here", {"A": value})


def test_booleans_of_programs_that_may_read_words_are_told() -> None:
    notes = environment.check_env("here", {"MS_ENABLE_LCCL": False, "VLLM_USE_V1": True, "X": "off"})[1]
    assert len(notes) == 1 and "env.MS_ENABLE_LCCL is false in YAML" in notes[0] and "becomes 0" in notes[0]


@pytest.mark.parametrize(
    ("secrets", "env", "words"),
    [
        ({"A": "hunter2"}, {}, "at least 8 characters"),
        ({"A": "hunter2" + " " * 9}, {}, "at least 8 characters"),
        ({"here": "hunter2-hunter2"}, {}, "own folder"),
        ({"A": "hunter2\ud800hunter2"}, {}, "at least 8"),
        ({"A": 1234567890}, {}, "must be text; quote it"),
        ({"A": None}, {}, "must be text"),
        ({"A": ["hunter2-hunter2"]}, {}, "must be text"),
        ({"A": "hunter2-hunter2"}, {"A": "1"}, "keep it in secret_env alone"),
        ({"A": "hunter2\0hunter2"}, {}, "at least 8"),
        ({"A=hunter2-hunter2": "x"}, {}, "a name of 17 characters is no name"),
        ({"hunter2-hunter2": None}, {}, "a name of 15 characters is no name"),
        ({"A": AnsibleInt(1234567890)}, {}, "secret_env.A is a int,"),
    ],
)
def test_a_refusal_of_a_secret_does_not_show_it(secrets: dict[str, Any], env: dict[str, str], words: str) -> None:
    with pytest.raises(Faults, match=words) as error:
        environment.check_secrets("here", secrets, env)
    assert "hunter2" not in str(error.value) and "1234567890" not in str(error.value)


def test_types_have_the_names_of_yaml_wherever_a_value_is_refused() -> None:
    """`_AnsibleTaggedInt` tells an operator nothing."""
    assert environment.type_name(AnsibleInt(1)) == "int" and environment.type_name(None) == "NoneType"
    named = re.compile(r"type\((?!error|failure|problem|self)\w+\)\.__name__")
    for folder in ("planning", "filter_plugins", "action_plugins", "fetching"):
        for path in (ROOT / folder).glob("*.py"):
            assert not named.search(path.read_text()), path


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [("HF_TOKEN", "hf_x", True), ("MY_API_KEY", "sk", True), ("DB_PASSWORD", "x", True), ("TOKENIZERS_PARALLELISM", "true", False),
     ("VLLM_TOKEN", "1", False), ("KEY_FILE", "/run/key", False), ("OMP_NUM_THREADS", "2", False), ("AWS_SECRET_ACCESS_KEY", "a", True),
     ("HTTPS_PROXY", "http://me:pw@proxy:3128", True), ("HTTPS_PROXY", "http://proxy:3128", False), ("X", "hf_" + "a1B2" * 5, True)],
)  # fmt: skip
def test_names_that_look_like_secrets(name: str, value: str, secret: bool) -> None:
    assert environment.looks_secret(name, value) is secret


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_values_reach_the_process_as_they_are(value: str) -> None:
    """As every template quotes them."""
    script = f'export A={shlex.quote(value)}\nprintf %s "$A"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert done.stdout == value.encode()


def test_every_template_quotes_what_the_tables_give() -> None:
    for path in [p for p in (ROOT / "templates").rglob("*.j2") if p.name in ("start.j2", "environment.j2", "run.j2")]:
        for line in path.read_text().splitlines():
            if "export {{ name }}" in line:
                assert "{{ value | quote }}" in line, path
