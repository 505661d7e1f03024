"""One line of a log without what stands before its words: colours, time stamps, processes, ranks, levels."""

from __future__ import annotations

import re

LINE = 1500  # characters of a line

# What stands before a line's own words. Each pattern is tried again until none matches: prefixes come doubled.
PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        # docker logs -t; a container's log on Kubernetes (`stderr F `); journalctl -o short-iso
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
        r"(?: std(?:out|err) [FP](?: |$)| [\w.-]{1,64} (?:[\w./@-]{1,64}\[\d{1,8}\]|kernel): |\s?)",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,9})? (?=[A-Z]{4,8}(?: (?:\d{4}-)?\d\d-\d\d \d\d:|: ))",  # a time before vLLM's own
        r"\[pod/[\w./-]{1,200}\] ",  # kubectl logs --prefix
        r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? ",  # Go's log
        r"(?:[^\W\d_]{3,5}\.?|1?\d月) [ \d]?\d \d\d:\d\d:\d\d [\w.-]{1,64} [\w./@-]{1,64}(?:\[\d{1,8}\])?: ",  # syslog, in any language
        r"[\w.@-]{1,64}\[\d{1,8}\]: (?=time=\")",  # syslog that lost its date, before logrus
        r"\[ {0,5}\d{1,7}\.\d{6}\] ",  # dmesg
        r"(?:[\w.:-]{1,64}: )?(?:kern|user|daemon|syslog) {0,3}: {0,8}(?:emerg|alert|crit|err|warn|warning|notice|info|debug) {0,4}: "
        r"(?:\[\d{4}-[\dTZ:.+-]{10,40}\]: )?",  # dmesg -x; Talos, with the host before it
        r"[\w.-]{1,64}(?:@[\w.-]{1,64})? +\| ",  # docker compose, docker service logs
        r"\((?:[A-Za-z][\w:.-]{0,60})?(?: ?[\w:]{1,20}(?:=| )[\w:.-]{1,64},?){0,4} ?(?:pid|ip|rank|TP|PP|DP|EP)=?\w[\w.:-]{0,40}(?:,"
        r" ?ip=[\d.:a-f]{1,40})?\)\s?",
        r"\((?:raylet|APIServer|EngineCore|Worker|autoscaler)[^()\n]{0,60}\)\s?",
        r"\[\d\d-\d\d \d\d:\d\d:\d\d\] ",  # SGLang's other servers
        r"\[(?:rank|Rank|RANK) ?\d{1,5}\]:?\s?",  # torchrun
        r"\[\d{1,5},\d{1,5}\]<std(?:err|out)>:\s?",  # mpirun
        r"\[(?:default|worker|host|node)[\w.-]{0,30}\]:\s?",  # torchrun --tee
        r"[\w./-]{1,60}\.py:\d{1,6}\] ",  # where it was said, of a line that lost its level
        r"[\w.-]{1,64}:\d{1,8}:\d{1,8} \[\d{1,3}\] (?=(?:\S{1,60} )?NCCL )",  # NCCL
    )
)
# A level and where it was said. `level` decides whether the line counts.
LEVELS = tuple(
    re.compile(pattern)
    for pattern in (
        # vLLM of all versions: `ERROR 11-20 10:11:12 [core.py:708] `, `ERROR 05-01 12:00:00 engine.py:366] `, with a year or a module too.
        r"(?P<level>[A-Z]{4,8}) (?:(?:\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,6})? )?(?:\[[^\]\n]{0,80}\]|[\w./-]{1,80}:\d{1,6}\])(?: |$)",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,\d]{0,7} +\| +(?P<level>[A-Z]{4,8}) *\| +[\w.:<>]{1,120} - ",  # loguru
        # Python's logging in its usual forms, and sglang's.
        r"\[?\d{4}-\d\d-\d\d[ T-]\d\d:\d\d:\d\d(?:[.,:]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?\]?(?: [A-Z]{2}\d{1,3})*\]?[ \t|,:-]{1,4}"
        r"(?:(?:(?!NCCL )\[?[\w./:<>-]{1,80}(?::\d{1,6})?\]?|\(?pid[=: ]\d{1,8}\)?)[ \t|,:-]{1,4}){0,4}\[?(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL"
        r"|FATAL|(?<=\[)(?:Debug|Info|Warning|Warn|Error|Fatal))\]?[ \t|:,-]{0,4}",
        r"\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: [A-Z]{2}\d{1,3}){0,4}\] ?(?P<level>)",  # sglang: no level
        # Ascend's plog and MindSpore: `[ERROR] HCCL(71,python3):2025-07-23-03:47:57.1 [hccl_socket.cc:100] `, `[WARNING] ME(71:140,MainProcess):...`
        r"\[(?P<level>[A-Z]{4,9})\] ?[A-Z_]{2,20}\([^)\n]{0,80}\):\s?[\d:.-]{8,40}\s?(?:\[[^\]\n]{0,120}\]\s?){0,2}",
        r"\[(?P<level>TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|Warning)\]:? ?(?:\d{4}-[\d: .,-]{8,30} ?(?:\([^)\n]{0,80}\) ?)?)?",
        # glog, and c10's of torch: `E1121 10:00:00.000000 71 x.cpp:629] `, `[rank0]:[W1121 10:00:00.000 x.cpp:475] `, `[W socket.cpp:464] `
        r"\[?(?P<level>[IWEF])(?:\d{2,4}|20\d{6}) \d\d:\d\d:\d\d[.\d]{0,12}(?: +\d{1,8})? [\w./ -]{1,120}(?::\d{1,6})?\](?: |$)",
        r"\[(?P<level>[IWEF]) [\w./-]{1,60}:\d{1,6}\] ",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,6}: (?P<level>[IWEF]) [\w./-]{1,120}:\d{1,6}\] ",  # TensorFlow
        # memfabric, which hands memory from NPU to NPU: `2025-09-22 20:20:40.102319 error 7 pid[7] [BM x.cpp:122] `
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,6} (?P<level>debug|info|warn|error|fatal) \d{1,8} pid\[\d{1,8}\] \[[A-Z]{2,10} [\w./-]{1,60}:\d{1,6}\] ",
        r"(?P<level>DEBU|INFO|WARN|ERRO|FATA|PANI)\[[\dTZ:.+-]{4,40}\] ",  # logrus: podman, nvidia-ctk, crictl, dockerd
        r"time=(?:\"[^\"\n]{1,40}\"|\d{4}-[\dTZ:.+-]{10,40}) level=(?P<level>\w{4,7}) msg=",
        r"(?P<level>TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|Warning|warning):[ \t]{1,6}",
        r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):[A-Za-z_][\w.-]{0,80}:(?=[^\s:/])",  # Python's logging without a format: `WARNING:root:...`
        r"(?P<level>TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)[ \t]+(?=\[|\d|[\w.]{1,60}[ :\]])",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: |$)(?P<level>)",  # Docker Desktop and others: no more than the time
    )
)
IN_PASSING = frozenset(("TRACE", "DEBUG", "DEBU", "INFO", "WARNING", "WARN", "VERSION", "EVENT", "I", "W"))
NCCL = re.compile(r"(?:\S{1,80} )?NCCL (INFO|WARN|TRACE|VERSION|DEBUG)\b")  # its place belongs to the words
USER_WARNING = re.compile(r"(?:\S{1,200}:\d{1,6}: )?(?:\w{1,40}\.)*\w{0,40}Warning: ")
# A progress bar that the next words were written behind: `Loading:  33%|### | 1/3 [00:20<00:40, 20.20s/it][rank0]:[E1204 ...`.
BARS = re.compile(r"(?:[^|\n]{0,80}?\d{1,3}%\|[^|\n]{0,300}\|[^\]\n]{0,80}\])+(?=\S)")
COLOURS = re.compile(r"\x1b\[[\d;?]{0,20}[A-Za-z]|\x1b\][^\x07\n]{0,200}\x07|[\x00-\x08\x0b-\x1f]")


def strip(line: str) -> tuple[str, str, str]:
    """(who said it, level, words) of one line of a log: without colours, time stamps, processes, ranks."""
    text = COLOURS.sub("", line[: LINE * 2])
    text = BARS.sub("", text, count=1) if "%|" in text else text
    who, level = "", ""
    for _ in range(10):
        told = NCCL.match(text)
        if told:
            return (
                who,
                "NCCL" if told.group(1) == "WARN" else "INFO",
                cut(text),
            )  # its WARN may be an error, or a fallback
        for pattern in PREFIXES:
            found = pattern.match(text)
            if found and found.end():
                who, text = who + found.group().strip(), text[found.end() :]
                break
        else:
            for pattern in LEVELS:
                found = pattern.match(text)
                if found and found.end():
                    level, text = (found.group("level") or level).upper(), text[found.end() :]
                    break
            else:
                break
    if USER_WARNING.match(text):
        level = "WARNING"
    return who, level, cut(text)


def cut(text: str) -> str:
    """A long line's beginning and end: the words that decide stand at one of them."""
    return text if len(text) <= LINE else text[: LINE - 500] + " ... " + text[-490:]
