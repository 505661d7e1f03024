"""What a container engine says of its own refusal: the innermost part of a message in which each layer wraps the one below it.

`docker: Error response from daemon: failed to create task: OCI runtime create failed: ...: <the reason>: unknown.` Docker, podman, containerd and runc
have thousands of these. A person needs the reason, and to know where to turn by what it speaks of.
"""

from __future__ import annotations

import re

from ansible.module_utils.serving.service.statements import Statement
from ansible.module_utils.serving.service.system_reasons import EACH

SAYS = re.compile(
    r"^(?:docker: )?[Ee]rror response from daemon: |^(?:docker|podman|ctr|nerdctl): (?=\S)"
    r"|^Error: (?=[^\n]{0,1000}\b(?:OCI|crun|runc|conmon|containers?|podman|netavark)\b)"  # podman's own; any program begins so
    r"|OCI runtime (?:create failed|error): |runc (?:create|run) failed: "
    r"|^docker\.errors\.APIError: [^\n]{0,200}?\(\"(?=[^\n]{12})"  # the SDK's, around the daemon's own
)
NOTHING = frozenset(
    ("unknown", "exit status 1", "OCI runtime error", "OCI permission denied", "OCI not found", "internal libpod error")
)
WORDS = 3  # a reason has as many, else the part before it is told too
REASON = 200  # characters of a reason

# What a reason speaks of, the first that it names, and where to turn.
KINDS = tuple(
    (re.compile("(?i)" + subject), remedy)
    for subject, remedy in (
        (
            r"un(?:recogni[sz]ed|known) (?:option|flag|command|argument)|flag provided but not defined|[Nn]o help topic",
            "a program and what calls it are of different versions: upgrade both (Docker with runc; nvidia-container-toolkit with libnvidia-container)",
        ),
        (r"\btty\b|terminal", "a service has no terminal: take `-t` and `tty` out of the row's container options"),
        (
            r"already dead|not running|already stopped",
            "look at what its process said last (the service's log), and at dmesg",
        ),
        (
            r"namespace path|/ns/",
            "the container whose network, IPC or processes it shares has ended: start that one first",
        ),
        (
            r"nvidia|\bgpus?\b|\bcdi\b|device",
            "nvidia-smi on the host must work; compare `devices` and device_access of the row with what is there",
        ),
        (
            r"network|\bports?\b|subnet|endpoint|bridge|ip6?tables|\bnft|\bdns\b|\bipam\b|\bipv?\d?\b|interface|\broutes?\b|\bveth|hairpin"
            r"|address (?:space|pool)",
            "correct ports and network of the row; restart the container engine, which makes its networks anew",
        ),
        (
            r"cgroup|rlimit|ulimit|sysctl|\bcpus?\b|memory|\bpids\b",
            "correct limits of the row; an engine inside a container or without root may set few of them",
        ),
        (
            r"seccomp|apparmor|selinux|capabilit|privilege|namespace|\busers?\b|permission|\buid\b|\bgid\b",
            "look at the host's security modules, at the user and rights of the row, and at what surrounds the engine (LXC, rootless)",
        ),
        (
            r"mount|volume|bind|rootfs|overlay|layer|storage|/proc/|/sys/",
            "check the row's `mounts` and the engine's data folder (df, dmesg); restart the container engine",
        ),
        (
            r"manifest|registry|\bpull|\bimage|\btag\b|reference",
            "check the image's name in the row, and run deploy.yml --tags fetch",
        ),
        (
            r"flag|option|argument|--\w|key '",
            "the engine does not know an option, or not together with another one: upgrade it, or correct the row's container options",
        ),
        (
            r"container|\bname\b|\bpod\b",
            "docker ps -a shows what is left of earlier runs; remove it, then restart the service",
        ),
    )
)
OTHERWISE = "journalctl -u docker -u containerd says what the engine met before; restart or upgrade it; run `start` of the release by hand to see all"


def unquoted(part: str) -> str:
    """A part of a message without quotes around it, or without the one that was parted from its other; a name in quotes keeps them."""
    around = part[:1] in "\"'" and part[-1:] == part[:1]
    return part.strip(" .\"'\\") if around or part.count('"') % 2 or part.count("'") % 2 else part


def refused(said: list[Statement]) -> tuple[str, Statement, bool] | None:
    """(cause and remedy, the message, whether it is sure: never), of the first message of a container engine that gives a reason in words."""
    for one in said:
        text = " ".join(line.strip() for line in one.text.split("\n"))
        begins = SAYS.search(text)
        text = text[:-2] if text.endswith('")') else text  # the SDK's brackets
        parts = [unquoted(part.strip(" .\\")) for part in text[begins.end() :].split(": ")] if begins else []
        parts = [part for part in parts if part and part not in NOTHING]
        if not parts:
            continue
        bare = len(parts) > 1 and (len(parts[-1].split()) < WORDS or EACH.search(": " + parts[-1]))
        reason = ": ".join(parts[-2:] if bare else parts[-1:])
        if len(reason.split()) < WORDS:
            continue
        subjects = EACH.sub(": ", ": " + reason)  # the system's "Device or resource busy" speaks of no device
        remedy = next((helps for subject, helps in KINDS if subject.search(subjects)), OTHERWISE)
        if len(reason) > REASON:
            reason = "... " + reason[-REASON:].partition(" ")[2]
        return 'the container engine gives its own reason, "%s": %s' % (reason, remedy), one, False
    return None
