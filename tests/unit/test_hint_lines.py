"""Every alternative of a row's pattern is shown by a line, and that line is explained by its row and by no other."""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.hints.hint import Hint
from conftest import ROOT

LINES: dict[str, list[str]] = {}
for written in (ROOT / "tests/fixtures/hint_lines.tsv").read_text(encoding="utf-8").splitlines():
    if not written.startswith("#"):
        name, _, line = written.partition("\t")
        LINES.setdefault(name, []).append(line)


def alternatives(pattern: str) -> list[str]:
    """What stands between the bars of a pattern that no bracket encloses."""
    found, depth, at = [""], 0, 0
    for token in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.S):
        depth += (token == "(") - (token == ")")
        if token == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += token
        at += len(token)
    assert at == len(pattern)
    return found


def unshown(row: Hint, lines: list[str]) -> list[str]:
    """Alternatives of a row that neither its example nor a line shows."""
    shown = [row.example.replace("\n", " "), *row.example.split("\n"), *lines]
    return [one for one in alternatives(row.pattern) if not any(re.search(one, line) for line in shown)]


def test_alternatives_are_told_apart_by_the_outer_bars_only() -> None:
    assert alternatives(r"a(?:b|c)[|)]\||d[^]|]|[\]|]e") == [r"a(?:b|c)[|)]\|", "d[^]|]", r"[\]|]e"]


def test_an_alternative_without_a_line_is_found() -> None:
    row = failures.HINTS[0]._replace(pattern="alpha|beta|gamma", example="alpha came first")
    assert unshown(row, ["here is gamma"]) == ["beta"]


@pytest.mark.parametrize("row", failures.HINTS, ids=lambda row: row.name)
def test_each_alternative_has_a_line_of_its_row(row: Hint) -> None:
    assert not unshown(row, LINES.get(row.name, [])), "write a line for it into tests/fixtures/hint_lines.tsv"
    for line in LINES.get(row.name, []):
        assert failures.explain([line], 1).hint == row.name, line


def test_lines_are_of_rows_that_exist_and_stand_once() -> None:
    assert not set(LINES) - {row.name for row in failures.HINTS}
    every = [line for lines in LINES.values() for line in lines]
    assert len(every) == len(set(every))


# A row that knows a line of another one is asked after it: what it says is not wrong there, the other says more. Any other such row is not sure.
SAYS_MORE = {
    ("version-yanked", "requirements-conflict"), ("systemd-namespaces-full", "systemd-own-folder"), ("systemd-namespaces-full", "systemd-sandbox"),
    ("systemd-namespaces-full", "disk-full"), ("inotify-full", "disk-full"), ("python-without-parts", "index-unreachable"),
    ("index-proxy", "proxy"), ("compiler-out-of-memory", "kernel-oom"), ("pip-no-room", "disk-full"), ("cdi-generate-no-library", "nvidia-cli-no-driver"),
    ("packages-release-ended", "host-repository"), ("stack-not-executable", "selinux-storage"),
    ("connect-without-address", "address-not-here"), ("engine-socket-left-over", "container-port-taken"),
    ("nvidia-smi-not-in-container", "host-program-missing"), ("packages-not-reached", "host-repository"),
    ("packages-not-reached", "packages-list-gone"), ("registry-proxy-dead", "registry-unreachable"), ("scope-left-over", "cgroup-systemd"),
    ("kernel-headers-of-another-processor", "image-other-architecture"), ("module-of-another-kernel", "image-other-architecture"),
    ("nccl-net-missing", "docker-network-missing"), ("nccl-no-route", "address-not-here"), ("nccl-no-route", "nccl-connect"),
    ("nccl-unix-socket", "port-taken"), ("nccl-nvml", "nvml-closed"),
    ("systemd-environment-closed", "systemd-environment"),
    ("address-of-container-taken", "port-taken"),
    ("nvidia-cli-broken", "library-of-another-kind"),
    ("nvidia-cli-no-libcuda", "driver-library-missing"),
    ("address-missing", "address-not-here"), ("architecture-not-imported", "architecture-unsupported"), ("cni-none", "host-program-missing"),
    ("command-not-in-image", "host-program-missing"), ("container-port-taken", "port-taken"),
    ("cpuset-empty", "disk-full"),
    ("engine-socket-left-over", "port-taken"), ("inotify-full", "too-many-files"),
    ("docker-shm-mount", "disk-full"), ("gloo-connect", "gloo-mesh"), ("gpu-memory-limited", "gpu-memory-out"),
    ("image-disk-full", "disk-full"),
    ("inner-port-taken", "port-taken"), ("kernel-limit", "disk-full"),
    ("npu-kernel-address", "cpu-too-old"), ("nvcc-path-wrong", "no-nvcc"),
    ("nvidia-hook-missing", "host-program-missing"), ("overlay-input-output", "disk-error"), ("podman-dns-address", "address-not-here"),
    ("oci-nested", "oci-sysctl"), ("podman-locks", "disk-full"), ("podman-registries", "image-gone"), ("podman-dns-port", "port-taken"),
    ("quantisation-needs-newer-gpu", "marlin-unsupported"), ("shm-too-small", "disk-full"), ("too-many-processes", "too-many-threads"),
    ("torch-npu-index", "package-not-found"),
    ("registry-credential-helper", "host-program-missing"), ("user-namespaces-full", "disk-full"), ("certificate-name", "certificate"),
    ("cdi-hook-missing", "oci-runtime-missing"), ("cdi-hook-missing", "oci-interpreter"),
}  # fmt: skip


def test_a_sure_row_knows_no_line_of_another_row() -> None:
    of_rows = [
        (row.name, line)
        for row in failures.HINTS
        for line in [row.example.replace("\n", " "), *LINES.get(row.name, [])]
    ]
    too_general = {
        (name, row.name)
        for row in failures.HINTS
        if row.proves
        for name, line in of_rows
        if name != row.name and failures.compiled(row.pattern).search(line)
    }
    assert too_general == SAYS_MORE, "make the pattern say more of the failure, or set sure=False"


FAILS = re.compile(
    r"^[^ {]*(?:\.|\[\^\\n\])\{0,\d+\}(?:\(\?:)?(?:.*\|)?(?:\[Ff\]|[Ff]|\[Ee\]|[Ee])(?:ail(?:ed|ure)?|rrors?|xception)(?:[|)]|$)"
)


def test_a_sure_row_does_not_rest_on_one_word_and_that_it_failed() -> None:
    """`HcclSocket ... fail` was told as a rank that did not come, where a port was taken."""
    assert FAILS.search(r"HcclSocket.{0,80}fail") and FAILS.search(r"mlock[^\n]{0,40}(?:[Ff]ailed|refused)")
    assert not FAILS.search(r"HcclSocket.{0,80}timeout") and not FAILS.search(r"Load library[^\n]{0,40}failed")
    rests = [row.name for row in failures.HINTS if row.proves and any(map(FAILS.search, alternatives(row.pattern)))]
    assert not rests, "let the pattern name the reason, or set sure=False"


RAISED = [
    row for row in failures.HINTS if row.proves and re.match(r"(?:\w{1,40}\.)*[A-Z]\w{1,40}Error: [^\n]+$", row.example)
]


@pytest.mark.parametrize("row", RAISED, ids=lambda row: row.name)
def test_a_sure_row_does_not_hide_the_reason_that_its_error_lists(row: Hint) -> None:
    """sgl_kernel's heading was told as a package of another version, where the list below it named a library of the system."""
    found = failures.explain(
        [
            row.example,
            "Error details from previous attempts:",
            "- FileExistsError: [Errno 28] No space left on device: '/x'",
        ],
        1,
    )
    assert found.hint == "disk-full" and found.root and found.root.startswith("FileExistsError")


# What is said once something else has failed: of ranks that waited, of other processes and containers.
AFTERWARDS = re.compile(r"waited in vain|said before|ended first|died first|what (?:the )?other \w+ said first")


def test_a_sure_row_about_another_process_gives_way_to_what_was_said_before() -> None:
    """The rank that is missed is named by the one that waited; why it is missing stands earlier in the same log."""
    told = [
        row.name
        for row in failures.HINTS
        if row.proves and not row.late and AFTERWARDS.search(row.cause + " " + row.remedy)
    ]
    assert not told, "set late=True, or say nothing of what came before"


# Rows whose one reason behind the colon is what the words themselves say, or explains the fact in front of it.
FOLLOWS = {
    "cdi-newer-than-engine",
    "nvidia-ctk-mode", "nvidia-cli-requirement", "nvidia-tools-mixed", "podman-pod-ports", "builder-old", "command-none", "cdi-integrated-gpu",
    "supervisord-command", "hub-name-invalid", "hub-path-as-name", "npu-held", "npu-ecc", "sglang-slots", "dtype-unknown-to-torch",
    "nvidia-cli-signal", "gpu-ecc", "gpu-nvlink-error", "gpu-xid-memory", "gpu-xid-link", "attention-none", "no-libc-headers",
    "quantisation-not-for-layer", "mistral-format", "architecture-dropped", "launch-oom",
}  # fmt: skip


def test_a_sure_row_tells_no_single_reason_that_its_words_do_not_prove() -> None:
    """A cause behind whose colon two reasons stand is told with "most often"; a single one would be told as the fact."""
    single = {
        row.name
        for row in failures.HINTS
        if row.proves and ": " in row.cause and "; most often" not in row.told and ": most often" not in row.told
    }
    assert single == FOLLOWS, "name the other usual reason, too (`or`), or say only what the words prove"


def plain_words(alternative: str) -> list[str] | None:
    """The words of an alternative that holds nothing but small letters: no code, name, path or sign. None for any other."""
    bare = re.sub(r"\(\?<?[=!](?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", " ", alternative)
    bare = re.sub(r"\\[bBwWdDsS]|\[(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|\(\?i?:|\(\?i\)|[()|?+*^$.]", " ", bare)
    words = bare.replace("\\", "").split()
    return words if all(re.fullmatch("[a-z']+", word) for word in words) else None


def test_a_sure_row_does_not_rest_on_one_common_word() -> None:
    """`reset required` or `watchdog timeout` are words of many programs; a code, a name or a third word makes them one's own."""
    assert plain_words(r"[Rr]eset required") == ["eset", "required"] and plain_words(r"NVRM: reset") is None
    assert plain_words(r"bad interpreter(?! of (?:acme|x))") == ["bad", "interpreter"]
    common = [
        (row.name, one)
        for row in failures.HINTS
        if row.proves
        for one in alternatives(row.pattern)
        if len(plain_words(one) or ["a", "b", "c"]) < 2
    ]
    assert not common, "let the pattern name whose word it is, or set sure=False"
