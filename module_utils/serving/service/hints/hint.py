"""The type of a failure hint: one row says how a failure is recognised, what it means and what helps.

How to add one: put a `Hint` into the table it belongs to (tables.py has their order). Containers: nvidia_cli (nvidia-container-cli), containers
(the rest of NVIDIA's tools), cdi, oci_runtimes, container_reasons (what the system said to an engine), cgroups, docker, images, registries, podman,
kubernetes, daemons (runc, engines), systemd, supervisord, storage (and locks); packages (apt, dnf); hubs.
Accelerators: nvidia, cuda, nvidia_driver, nvidia_installer, nvidia_smi, pci, nvml, xid, nccl, nccl_warnings (what it says itself), ray, over_hosts,
kv_transfer, dcgm, amd, intel (and CPUs), cpu_threads, mindie, mindspore, ascend, ascend_installers, hccl, cann (families of codes), codes (by class),
npu_kernels.
Engines: engines, options, combinations (of options, models and accelerators), plugins, vllm_ascend, models, weights, kernels, compilers, caches, sglang,
processes, python, pip, torch. The host: system, linux_kernel, kernel_modules (DKMS), disks (and hardware), networks, errnos;
Ansible: ansible_side; the gateway and monitoring: gateway.
Asked last: faults (errors by which a program says no more than that it failed). Of a log without an error: unfinished, by its last line.
An error whose own sentence says what is wrong ("x must be one of (8, 16), got 4") needs no row: own_words.py reads it.
A cause must hold for each way in which the pattern can match: where it does not, make two rows, or say `sure=False`: the words come of other
causes too, and this one is told as possible, beside the error. A row for a family of errors is `general`, and never sure.
A cause is a fact. Behind a colon may stand its usual reasons ("x is not there: it was removed, or y"): they are told as no more than that.
A single reason there would be told as the fact: it stands only where the words themselves say it. A row about what another process, rank or container
failed at is `late`. A sure row rests on no common word that other programs print too.
Give the engine's own words as `pattern`, keep it linear (`.{0,80}` instead of `.*`), say where you saw it, and write a line of your own
as `example`; each further alternative of the pattern has a line in tests/fixtures/hint_lines.tsv. tests/unit/test_failures.py and
test_hint_lines.py hold every row to that: an example or line is explained by its own row and by no other.
"""

from __future__ import annotations

from typing import NamedTuple


class Hint(NamedTuple):
    name: str
    pattern: str  # searched in one statement of the log (an error with its message), without prefixes such as `(APIServer pid=1)`
    cause: str
    remedy: str
    source: str  # URL, repository#number, or the software that was seen to say it
    example: str  # one or more lines of a log
    general: bool = False  # asked only when no other row knows any statement of the log
    passing: bool = False  # the words are decisive although they stand in an INFO or WARNING line
    sure: bool = True  # the words prove the cause; else it is told as one that is possible
    late: bool = False  # said after the fact, as of kernels and of ranks that waited: an earlier line that another row knows counts before it

    @property
    def proves(self) -> bool:
        """Whether its cause may be told as the cause."""
        return self.sure and not self.general

    @property
    def told(self) -> str:
        """Cause and remedy in one line."""
        fact, _, reasons = self.cause.partition(": ")
        usual = " or " in reasons and not reasons.startswith("most often ")
        return "%s: %s" % ("%s; most often %s" % (fact, reasons) if usual else self.cause, self.remedy)
