"""Why an engine failed, from its log and exit code: the first error of the chain, and what it means.

The rows are data (hints.py says how to add one); this is what reads a log. It takes prefixes off, drops what is said in passing (INFO, WARNING),
puts each error with its message into one statement, and asks the rows about the statements in the order in which they were said, the
consequences ("See root cause above") last. Nothing that no row knows gets a meaning.
"""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

from ansible.module_utils.serving.service.hints import (
    ascend,
    cann,
    containers,
    daemons,
    docker,
    engines,
    models,
    nccl,
    npu_kernels,
    nvidia,
    plugins,
    processes,
    python,
    system,
)
from ansible.module_utils.serving.service.hints.hint import Hint

# Where two rows know one statement, the first one counts: specific tables before those of the engine and the host.
HINTS: tuple[Hint, ...] = (
    *plugins.HINTS,
    *containers.HINTS,
    *docker.HINTS,
    *daemons.HINTS,
    *npu_kernels.HINTS,
    *cann.HINTS,
    *ascend.HINTS,
    *python.HINTS,
    *nvidia.HINTS,
    *nccl.HINTS,
    *models.HINTS,
    *engines.HINTS,
    *processes.HINTS,
    *system.HINTS,
)

LINES, LINE, STATEMENT = 2000, 1500, 3000  # a log's last lines, characters of a line, characters of a statement
MESSAGE_LINES = 12  # lines of an error's message
ASKED = 150  # statements from each end of a log about which the rows are asked: the first error counts, and the last words may be all there is

# What stands before a line's own words. Each pattern is tried again until none matches: prefixes come doubled.
PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)\s?",  # docker logs -t, journald
        r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,64} [\w./@-]{1,64}(?:\[\d{1,8}\])?: ",  # syslog
        r"[\w.-]{1,64} +\| ",  # docker compose
        r"\((?:[A-Z][\w:.-]{0,60}|vllm\w{0,30})?(?: ?[\w:]{1,20}(?:=| )[\w:.-]{1,64},?){0,4} ?(?:pid|ip|rank|TP|PP|DP|EP)=?\w[\w.:-]{0,40}(?:,"
        r" ?ip=[\d.:a-f]{1,40})?\)\s?",
        r"\((?:raylet|APIServer|EngineCore|Worker|autoscaler)[^()\n]{0,60}\)\s?",
        r"\[(?:rank|Rank|RANK) ?\d{1,5}\]:?\s?",  # torchrun
        r"\[\d{1,5},\d{1,5}\]<std(?:err|out)>:\s?",  # mpirun
        r"\[(?:default|worker|host|node)[\w.-]{0,30}\]:\s?",  # torchrun --tee
        r"[\w.-]{1,64}:\d{1,8}:\d{1,8} \[\d{1,3}\] (?=(?:\S{1,60} )?NCCL )",  # NCCL
    )
)
# A level and where it was said. `level` decides whether the line counts.
LEVELS = tuple(
    re.compile(pattern)
    for pattern in (
        # vLLM of all versions: `ERROR 11-20 10:11:12 [core.py:708] `, `ERROR 05-01 12:00:00 engine.py:366] `, with a year or a module too.
        r"(?P<level>[A-Z]{4,8}) (?:\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,6})? (?:\[[^\]\n]{0,80}\]|[\w./-]{1,80}:\d{1,6}\])(?: |$)",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,\d]{0,7} +\| +(?P<level>[A-Z]{4,8}) *\| +[\w.:<>]{1,120} - ",  # loguru
        # Python's logging in its usual forms, and sglang's.
        r"\[?\d{4}-\d\d-\d\d[ T-]\d\d:\d\d:\d\d(?:[.,:]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?\]?(?: [A-Z]{2}\d{1,3})*\]?[ \t|,:-]{1,4}"
        r"(?:(?:(?!NCCL )\[?[\w./:<>-]{1,80}(?::\d{1,6})?\]?|\(?pid[=: ]\d{1,8}\)?)[ \t|,:-]{1,4}){0,4}\[?(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL"
        r"|FATAL)\]?[ \t|:,-]{0,4}",
        r"\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: [A-Z]{2}\d{1,3}){0,4}\] ?(?P<level>)",  # sglang: no level
        # Ascend's plog and MindSpore: `[ERROR] HCCL(71,python3):2025-07-23-03:47:57.1 [hccl_socket.cc:100] `, `[WARNING] ME(71:140,MainProcess):...`
        r"\[(?P<level>[A-Z]{4,9})\] ?[A-Z_]{2,20}\([^)\n]{0,80}\):\s?[\d:.-]{8,40}\s?(?:\[[^\]\n]{0,120}\]\s?){0,2}",
        r"\[(?P<level>TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\]:? ?(?:\d{4}-[\d: .,-]{8,30} ?(?:\([^)\n]{0,80}\) ?)?)?",
        # glog, and c10's of torch: `E1121 10:00:00.000000 71 x.cpp:629] `, `[rank0]:[W1121 10:00:00.000 x.cpp:475] `, `[W socket.cpp:464] `
        r"\[?(?P<level>[IWEF])\d{2,4} \d\d:\d\d:\d\d[.\d]{0,12}(?: +\d{1,8})? [\w./ -]{1,120}(?::\d{1,6})?\](?: |$)",
        r"\[(?P<level>[IWEF]) [\w./-]{1,60}:\d{1,6}\] ",
        r"(?P<level>DEBU|INFO|WARN|ERRO|FATA|PANI)\[\d{4,6}\] ",  # logrus: podman, nvidia-ctk, crictl
        r"time=\"[^\"\n]{1,40}\" level=(?P<level>\w{4,7}) msg=",
        r"(?P<level>TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|Warning|warning):[ \t]{1,6}",
        r"(?P<level>TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)[ \t]+(?=\[|\d|[\w.]{1,60}[ :\]])",
    )
)
IN_PASSING = frozenset(("TRACE", "DEBUG", "DEBU", "INFO", "WARNING", "WARN", "VERSION", "EVENT", "I", "W"))
NCCL = re.compile(
    r"(?:\S{1,80} )?NCCL (INFO|WARN|TRACE|VERSION|DEBUG)\b"
)  # its WARN is what others call an error; its place belongs to the words
USER_WARNING = re.compile(r"(?:\S{1,200}:\d{1,6}: )?(?:\w{1,40}\.)*\w{0,40}Warning: ")
COLOURS = re.compile(r"\x1b\[[\d;?]{0,20}[A-Za-z]|\x1b\][^\x07\n]{0,200}\x07|[\x00-\x08\x0b-\x1f]")
GROUP = re.compile(
    r" *(?:[|+](?:[-+ |0-9.]{0,60}(?:-{4,60}|\| |$)| ))"
)  # the frame that Python draws around exception groups

TRACEBACK = "Traceback (most recent call last):"
EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60}?(?:Error|Exception|Exit|Interrupt|Refused|NotFound|Timeout|Failure|Group|Failed|Unsupported|OutOfResources)"
    r"(?: ?\([^)\n]{0,60}\))?(?::|$)"
)
ABORT = re.compile(
    r"terminate called after throwing|what\(\):|Fatal Python error|Check failed:|Assertion [`'].{1,200} failed"
)
CONSEQUENCE = re.compile(
    r"Engine core initialization failed|EngineDeadError|MQEngineDeadError|EngineCore encountered|EngineCore failed to start|EngineCore hit an exception"
    r"|[Ee]ngine (?:core )?proc(?:ess)?(?:es)? (?:failed to start|.{0,40}died)|[Ww]orker ?[Pp]roc\w{0,4} (?:initialization failed|.{0,60}died)"
    r"|WorkerProc hit an exception"
    r"|[Ss]ee (?:stack trace for )?(?:the )?root cause|Failed core proc|[Ee]xecutor failed|Failed to infer device type|Device string must not be empty"
    r"|Engine loop (?:is not|has)"
    r"|^asyncio\.exceptions\.CancelledError|^SystemExit|^KeyboardInterrupt|^BrokenPipeError|^ConnectionResetError|^ConnectionRefusedError|^EOFError"
    r"|ChildFailedError"
    r"|^RuntimeError: [Cc]ancelled|leaked (?:semaphore|shared_memory)|RPC call to \w{1,40} timed out|ActorDiedError|ncclRemoteError|Connection (?:reset"
    r"|closed) by peer"
    r"|failed to be inspected|Exception in ASGI application|Unhandled exception in|Application startup failed|Server process died"
)
DAEMON = re.compile(
    r"[Ee]rror response from daemon|^Error: |^docker: |nvidia-container-cli: |OCI runtime|runc (?:run|create) failed|: error: "
)
# A line without a level may be an error only if it holds one of these: engines print thousands that don't.
TELLING = re.compile(
    r"(?i)err|fail|fatal|cannot|can't|couldn't|could not|unable|n't |\bno[nt]?\b|denied|missing|invalid|unknown|unsupported|illegal|killed|fault"
    r"|refus|tim(?:ed?|es) ?out|\btoo\b|abort|exceed|out of|already|unresolv|lost|mismatch|busy|older|limit|alloc|dcmi"
    r"|\bret is\b|requests?:|requires|\bxid\b|\bE[A-Z]\d{4}"
    r"|\bshm\b|assert|terminate|what\(\)|undefined|uncorrectable|only supported|insufficient|required|unrecognized|does|stopped|conflict"
    r"|invoking|exist|full|status=\d|no solution|killed|violation"
)
SERVING = re.compile(r"Application startup complete|Uvicorn running on")
FRAME = re.compile(r"\s*File \"")

SIGNALS = {
    signal.SIGKILL: (
        "the process was killed (SIGKILL), most often for lack of memory",
        "see dmesg; lower kv_cache_memory_bytes or run fewer services",
    ),
    signal.SIGILL: (
        "the engine was ended by an illegal instruction (SIGILL): this build uses instructions that the host's CPU does not have",
        "use a build for this CPU (lscpu shows avx2, avx512f), or another host",
    ),
    signal.SIGBUS: (
        "the engine was ended by a bus error (SIGBUS): /dev/shm is too small, or a file that it had mapped was cut",
        "raise shm_bytes, then check the disk and the weights (weights_info, full: true)",
    ),
    signal.SIGSEGV: (
        "compiled code of the engine crashed with a segmentation fault (SIGSEGV)",
        "see dmesg for the library's name; use an image as it was built",
    ),
    signal.SIGABRT: (
        "the engine aborted itself (SIGABRT), as C++ code does that can't go on",
        "the lines before it in the log say why",
    ),
    signal.SIGTERM: (
        "the engine was told to end (SIGTERM): somebody or something stopped it",
        "start the service again",
    ),
    signal.SIGINT: ("the engine was interrupted (SIGINT): somebody or something stopped it", "start the service again"),
}
CODES = {
    0: ("the engine ended by itself without an error code", "a server must not end: look at its last lines, and at what the start script runs"),
    125: ("the container engine could not make the container", "its own message in the log says why"),
    126: ("what the start script names may not be executed, or is for another architecture", "check its mode, noexec mounts and uname -m"),
    127: ("a program that the start script names is not there", "run deploy.yml again, it finds what is missing; in an image check `activate`"),
}  # fmt: skip


class Statement(NamedTuple):
    text: str
    kind: str  # "exception", "error" (a line of that level), "words" (a line without one), "passing"


class Explanation(NamedTuple):
    meaning: str | None  # cause and remedy in one line; None if nobody knows
    root: str | None  # the error that came first, in the engine's own words
    hint: str | None  # name of the row (or of the exit code) that knew it


def strip(line: str) -> tuple[str, str, str]:
    """(who said it, level, words) of one line of a log: without colours, time stamps, processes, ranks."""
    text = COLOURS.sub("", line[: LINE * 2])
    who, level = "", ""
    for _ in range(10):
        told = NCCL.match(text)
        if told:
            return who, "ERROR" if told.group(1) == "WARN" else "INFO", cut(text)
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


def statements(lines: list[str]) -> list[Statement]:
    """What the log's last lines say, in order: each exception with its message, each error, each line that may be one."""
    found: list[Statement] = []
    frames: dict[str, bool] = {}  # by process: inside a traceback's frames
    open_at: dict[str, tuple[int, int]] = {}  # by process: (index of its last exception, lines of its message so far)
    for line in lines[-LINES:]:
        who, level, text = strip(line)
        frame = GROUP.match(text)
        if frame and frame.end() and (who in frames or "Exception Group" in text):
            text = text[frame.end() :]
        if level in IN_PASSING:
            open_at.pop(who, None)
            found.append(Statement(text, "passing"))
            if SERVING.search(text):  # it came up: what was said before was no reason to fail
                found = found[-1:]
                frames, open_at = {}, {}
            continue
        words = text.strip()
        if not words:
            continue
        if SERVING.search(words) and not EXCEPTION.match(words):
            found, frames, open_at = [], {}, {}
            continue
        if words.startswith(TRACEBACK[:9]) and "recent call last" in words:
            frames[who] = True
            open_at.pop(who, None)
            continue
        if FRAME.match(text):
            frames[who] = True
            open_at.pop(who, None)
            continue
        if frames.get(who) and text[:1] in (" ", "\t"):
            continue
        raised = frames.pop(who, False) or EXCEPTION.match(words)
        if raised or ABORT.match(words):
            found.append(Statement(words, "exception"))
            open_at[who] = (len(found) - 1, 0)
            continue
        at, count = open_at.get(who, (-1, 0))
        if (
            at >= 0
            and count < MESSAGE_LINES
            and not words.startswith(("During handling of", "The above exception"))
            and at < len(found)
        ):
            said = found[at].text
            if len(said) < STATEMENT:
                found[at] = Statement(said + "\n" + words, "exception")
                open_at[who] = (at, count + 1)
            # A line of its own as well: what follows an exception may be the next process's last words.
            if text[:1] in (" ", "\t"):
                continue
        if words.startswith(
            ("raise ", "During handling of", "The above exception", "return ", "^", "~", "foreground: ")
        ):
            continue
        if level or DAEMON.search(words):
            found.append(Statement(words, "error"))
        elif TELLING.search(words):
            found.append(Statement(words, "words"))
    return list(dict.fromkeys(found))


def by_code(code: int | None, signals: bool) -> tuple[str, str, str] | None:
    """(name, cause, remedy) of an exit code: signals (negative, or 128 and more as shells and containers say it), or the others."""
    if code is None:
        return None
    number = -code if code < 0 else code - 128 if 128 < code < 160 else 0
    if number:
        known = SIGNALS.get(number)  # type: ignore[call-overload]
        return ("exit-%d" % code, *known) if known and signals else None
    return ("exit-%d" % code, *CODES[code]) if code in CODES and not signals else None


def explain(lines: list[str], code: int | None = None) -> Explanation:
    """What the last lines of a log (and the exit code, negative for a signal) mean.

    The first statement that a specific row knows decides; then words that are decisive in passing; then a signal; then general rows and
    other codes. Consequences of something else are asked last in each round.
    """
    said = statements(lines)
    firm = [one for one in said if one.kind != "passing"]
    firm = firm if len(firm) <= 2 * ASKED else firm[:ASKED] + firm[-ASKED:]
    firm = [one for one in firm if not CONSEQUENCE.search(one.text)] + [
        one for one in firm if CONSEQUENCE.search(one.text)
    ]
    root = root_of(firm)
    signal_row, code_row = by_code(code, True), by_code(code, False)
    for general, passing in ((False, False), (False, True), (True, False)):
        if general and signal_row and code not in (-signal.SIGABRT, 128 + signal.SIGABRT):
            break
        rows = [row for row in HINTS if row.general is general and row.passing is passing]
        for one in said if passing else firm:
            for row in rows:
                if re.search(row.pattern, one.text.replace("\n", " ").replace('\\"', '"')):
                    return Explanation("%s: %s" % (row.cause, row.remedy), first_words(one.text), row.name)
    known = signal_row or code_row
    return Explanation("%s: %s" % known[1:], root, known[0]) if known else Explanation(None, root, None)


def root_of(firm: list[Statement]) -> str | None:
    """The first error's own words; consequences only where there is nothing else."""
    for kind in ("exception", "error"):
        one = next((one for one in firm if one.kind == kind and not CONSEQUENCE.search(one.text)), None)
        if one:
            return first_words(one.text)
    rest = next((one for one in firm if one.kind != "words"), None)
    return first_words(rest.text) if rest else None


def first_words(text: str) -> str:
    """One line of a statement: its first, with the second where the first says nothing but a name."""
    lines = text.split("\n")
    head = lines[0].strip()
    if len(lines) > 1 and (head.endswith(":") or "validation error" in head):
        head = "%s %s" % (head, " ".join(line.strip() for line in lines[1:3]))
    return head[:300]
