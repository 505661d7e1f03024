"""A log of an engine or a container engine as statements: each error with its message, without prefixes, in the order in which they were said.

This is what reads a log; failures.py asks the rows about what it found. Prefixes are taken off, what is said in passing (INFO, WARNING, errors
that their own words call handled) is marked, frames of tracebacks are dropped, and each exception knows the chain that it belongs to.
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

LINES, LINE, STATEMENT = 2000, 1500, 3000  # a log's last lines, characters of a line, characters of a statement
OTHERS = 20  # last lines of which those without a telling word are kept too
MESSAGE_LINES = 12  # lines of an error's message

# What stands before a line's own words. Each pattern is tried again until none matches: prefixes come doubled.
PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)\s?",  # docker logs -t, journald
        r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? ",  # Go's log
        r"(?:[^\W\d_]{3,5}\.?|1?\d月) [ \d]?\d \d\d:\d\d:\d\d [\w.-]{1,64} [\w./@-]{1,64}(?:\[\d{1,8}\])?: ",  # syslog, in any language
        r"[\w.-]{1,64} +\| ",  # docker compose
        r"\((?:[A-Z][\w:.-]{0,60}|vllm\w{0,30})?(?: ?[\w:]{1,20}(?:=| )[\w:.-]{1,64},?){0,4} ?(?:pid|ip|rank|TP|PP|DP|EP)=?\w[\w.:-]{0,40}(?:,"
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
NCCL = re.compile(r"(?:\S{1,80} )?NCCL (INFO|WARN|TRACE|VERSION|DEBUG)\b")  # its place belongs to the words
USER_WARNING = re.compile(r"(?:\S{1,200}:\d{1,6}: )?(?:\w{1,40}\.)*\w{0,40}Warning: ")
COLOURS = re.compile(r"\x1b\[[\d;?]{0,20}[A-Za-z]|\x1b\][^\x07\n]{0,200}\x07|[\x00-\x08\x0b-\x1f]")
GROUP = re.compile(
    r" *(?:[|+](?:[-+ |0-9.]{0,60}(?:-{4,60}|\| |$)| ))"
)  # the frame that Python draws around exception groups

TRACEBACK = "Traceback (most recent call last):"
EXCEPTION = re.compile(
    r"(?:(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]|(?:[A-Za-z_]\w{0,60}\.){1,8}[a-z])\w{0,60}?(?:Error|Exception|Exit|Interrupt|Refused|NotFound|Timeout|Failure|Group|Failed|Unsupported|OutOfResources)"
    r"(?: ?\([^)\n]{0,60}\))?(?::|$)"
)
ABORT = re.compile(
    r"terminate called after throwing|what\(\):|Fatal Python error|Check failed:|Assertion [`'].{1,200} failed"
)
CALLED = re.compile(
    r"^((?:\w{1,60}\.){0,4}\w{1,60}(?:Error|Exception))\(([\"'])(.{1,1400})\2,?\)$"
)  # an exception as repr() writes it
TUPLE = re.compile(
    r"^((?:\w{1,60}\.){0,4}\w{1,60}(?:Error|Exception)): \([\"'](.{1,1400})[\"'],?\)$"
)  # a message in several parts
CANN_CODE = re.compile(
    r"E[A-Z1-9]\d{4}(?:: |  )|(?:\[PID: \d{1,10}\] [\d:.-]{10,40} )?[A-Z][A-Za-z]{1,30}(?:_[A-Za-z]{1,30}){0,5}\(E[A-Z]\d{4}\): "
)
CONSEQUENCE = re.compile(
    r"Engine core initialization failed|EngineDeadError|MQEngineDeadError|EngineCore encountered|EngineCore failed to start|EngineCore hit an exception"
    r"|[Ee]ngine (?:core )?proc(?:ess)?(?:es)? (?:failed to start|.{0,40}died)|[Ww]orker ?[Pp]roc\w{0,4} (?:initialization failed|.{0,60}died)"
    r"|WorkerProc hit an exception"
    r"|[Ss]ee (?:stack trace for )?(?:the )?root cause|Failed core proc|[Ee]xecutor failed|Failed to infer device type|Device string must not be empty"
    r"|Engine loop (?:is not|has)"
    r"|^asyncio\.exceptions\.CancelledError|^SystemExit|^KeyboardInterrupt|^BrokenPipeError|^ConnectionResetError|^ConnectionRefusedError|^EOFError|^ChildProcessError"
    r"|ChildFailedError|RayTaskError|WorkerCrashedError|BrokenProcessPool|ProcessRaisedException|ProcessExitedException"
    r"|^RuntimeError: [Cc]ancelled|leaked (?:semaphore|shared_memory)|RPC call to \w{1,40} timed out|ActorDiedError|ncclRemoteError|Connection (?:reset"
    r"|closed) by peer"
    r"|failed to be inspected|Exception in ASGI application|Unhandled exception in|Application startup failed|Server process died"
    r"|died, exit code: -?\d|Exception in worker \w{1,40} while processing|Error executing method|output_handler failed|Parent process exited"
    r"|ContextTerminated|recvValue failed|EngineGenerateError|exception was never retrieved|Process group watchdog thread terminated"
    r"|Scheduler hit an exception: Traceback|^Error raised in subprocess|Failed to load the backend extension"
    r"|^make(?:\[\d{1,3}\])?: \*\*\*"
    r"|rtGetDevMsg execute failed|MQLLMEngine is already dead|Retry also failed|Got fatal signal from worker|Worker failed with error"
    r"|^terminate called after throwing|^what\(\): +(?:_Map_base::at|map::at|vector::_M_range_check|basic_string|stoi|bad_\w{1,20})"
    r"|^subprocess\.CalledProcessError|scheduler is dead\b"
    r"|^(?:\S{1,80}: line \d{1,5}: +\d{1,8} )?Killed\b"
    r"|subprocess-exited-with-error|metadata-generation-failed|Failed building (?:wheel|editable)|did not run successfully|ninja: build stopped"
)
# Errors that their own words call handled: the process goes on. What they and their tracebacks say is no cause, until its next line of another kind.
HANDLED = re.compile(
    r"Error saving model info cache|--- Logging error ---|^Exception ignored in|_report_usage|usage stats|Error (?:retrieving|getting|reading)"
    r" [^\n]{0,40}(?:safetensors|file list|repo)|[Ff]alling back to|[Ww]ill (?:fall back|be ignored)|, ignoring\b|, skipping\b"
)
# What went wrong and is tried again is no reason: where it fails at last, the last error says so in other words.
RETRIED = re.compile(
    r"(?i)\b(?:will (?:re-?try|try again)|re-?trying|trying again|skip plugin)\b(?!\W{0,3}(?:failed|gave up))"
)
# What ends the message of an exception that goes over several lines.
CLOSES = re.compile(
    r"Process \w|Exception ignored|Aborted|Killed|Segmentation fault|Bus error|double free|\*\*\* |\S{1,80}: line \d|During handling of|The above exception"
)
DAEMON = re.compile(
    r"[Ee]rror response from daemon|^Error: |^docker: |nvidia-container-cli: |OCI runtime|runc (?:run|create) failed|: error: "
)
# A line without a level may be an error only if it holds one of these: engines print thousands that don't.
TELLING = re.compile(
    r"(?i)err|fail|fatal|cannot|can't|couldn't|could not|unable|n't |\bno[nt]?\b|denied|missing|invalid|unknown|unsupported|illegal|killed|fault"
    r"|refus|tim(?:ed?|es) ?out|\btoo\b|abort|exceed|out of|already|unresolv|lost|mismatch|busy|older|limit|alloc|dcmi"
    r"|\bret is\b|requests?:|requires|\bxid\b|\bE[A-Z]\d{4}"
    r"|\bshm\b|exit ?code|assert|terminate|what\(\)|undefined|uncorrectable|only supported|insufficient|required|unrecognized|does|stopped|conflict"
    r"|invoking|exist|full|\bdead\b|\bdied\b|status=\d|no solution|killed|violation"
)
# How programs of Unix end a line that says what the system refused them: `chmod: changing permissions of 'x': Read-only file system`.
SYSTEM = re.compile(
    r": (?:%s)[.\s]*$"
    % "|".join(sorted({re.escape(os.strerror(number)) for number in errno.errorcode}, key=len, reverse=True))
)
# Docker prints what a hook said on a line of its own behind the message that it belongs to.
HOOK_SAID = re.compile(r"stderr: [^\n]{0,80}$")
OF_A_HOOK = re.compile(r"nvidia-container-cli(?:\.real)?: |SIGSEGV|failed to mount ")
# The front process repeats what a worker said: its words are the worker's.
REPEATED = re.compile(r"^RuntimeError: Worker failed with error '(?='?[^'\s,])")
REPEATED_KEY = re.compile(
    r"^RuntimeError: Worker failed with error '('[^']{1,200}')'(?:, please check[^\n]{0,70})?$"
)  # str() of a KeyError
REPEATED_END = re.compile(r"'(?:, please check the stack trace above[^\n]{0,40})?$")
# uv draws the chain of an error as a tree, the deepest cause last: it is read the other way round, as other chains are.
TREE = re.compile(r"(?:├─▶|╰─▶) ?")
NO_EXCEPTION = "NoneType: None"  # what logging writes in place of one
SERVING = re.compile(r"Application startup complete|Uvicorn running on")
FRAME = re.compile(r"\s*File \"")
NAMED = re.compile(r"[A-Za-z_][\w.]{0,120}(?:: .|:?$)")  # may be an exception of any name, not a line of source
PLACE = re.compile(r"((?:[\w.-]{1,60}/)?[\w.-]{1,60})\", line (\d{1,6})")


class Statement(NamedTuple):
    text: str
    kind: str  # "exception", "error" (a line of that level), "words" (without one), "passing", "other" (a last line without a telling word)
    chain: int = 0  # exceptions that were raised while the one before was handled share it

    @property
    def consequence(self) -> bool:
        """Says only that something else failed."""
        return bool(CONSEQUENCE.search(self.text.split("\n", 1)[0]))


class Speaker:
    """What was last read of one process (of one prefix): where its traceback and its message stand."""

    def __init__(self) -> None:
        self.frames = False  # inside a traceback's frames
        self.source_next = False  # a frame's place was the last line: its source follows
        self.indent = 0  # of the traceback: pip and compose print it further in
        self.source = ""  # the last line of source in it
        self.place = ""  # the last frame, as package/file.py:line
        self.open_at, self.count = -1, 0  # index of its last exception, lines of its message so far
        self.chained = False  # the next exception belongs to the last one's chain
        self.chain = 0
        self.handled = False
        self.tree = -1  # where in the list the error stands whose causes are drawn below it
        self.headline = -1  # index of an error line that ends in a colon: the next line belongs to it

    def close(self) -> None:
        self.open_at = -1


def strip(line: str) -> tuple[str, str, str]:
    """(who said it, level, words) of one line of a log: without colours, time stamps, processes, ranks."""
    text = COLOURS.sub("", line[: LINE * 2])
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


def statements(lines: list[str]) -> list[Statement]:
    """What the log's last lines say, in order: each exception with its message, each error, each line that may be one."""
    found: list[Statement] = []
    speakers: dict[str, Speaker] = {}
    chains = 0
    lines = lines[-LINES:]
    for at, line in enumerate(lines):
        who, level, text = strip(line)
        one = speakers.setdefault(who, Speaker())
        frame = GROUP.match(text)
        if frame and frame.end() and (one.frames or "Exception Group" in text):
            text = text[frame.end() :]
        words = TUPLE.sub(
            lambda of: "%s: %s" % (of[1], re.sub(r"[\"'], [\"']", "", of[2])), CALLED.sub(r"\1: \3", text.strip())
        )
        words = REPEATED_KEY.sub(r"KeyError: \1", words)
        if REPEATED.match(words):
            words = REPEATED_END.sub("", REPEATED.sub("RuntimeError: ", words))
        if level in IN_PASSING:
            one.close()
            one.handled = False
            found.append(Statement(text, "passing"))
        if SERVING.search(words) and not EXCEPTION.match(
            words
        ):  # it came up: what was said before was no reason to fail
            found, speakers = [], {}
            continue
        if RETRIED.search(words) and level not in IN_PASSING and not EXCEPTION.match(words):
            one.close()
            found.append(Statement(words, "passing"))
            continue
        branch = TREE.match(words)
        if branch and one.tree >= 0:
            found.insert(one.tree, Statement(words[branch.end() :], "words"))
            continue
        one.tree = len(found) if words.startswith("\u00d7 ") else -1
        if level in IN_PASSING or not words or words == NO_EXCEPTION:
            continue
        headline, one.headline = one.headline, -1
        if HANDLED.search(words) and not EXCEPTION.match(words):
            one.handled = True
        if (
            (words.startswith(TRACEBACK[:9]) and "recent call last" in words)
            or words.endswith(TRACEBACK)
            or FRAME.match(text)
        ):
            one.handled = one.handled and (one.chained or one.open_at < 0)
            if not one.frames:
                one.indent = max(len(text) - len(text.lstrip()) - (0 if "recent call last" in words else 2), 0)
            one.frames = True
            one.source_next = bool(FRAME.match(text))
            one.close()
            place = PLACE.search(text)
            one.place = "%s:%s" % place.groups() if place else one.place
            continue
        source, one.source_next = one.source_next, False
        # Where a log lost its indentation (a web form's), the line behind a frame's place is its source all the same.
        if one.frames and (
            len(text) - len(text.lstrip()) > one.indent
            or not words.strip("^~ ")
            or (source and not EXCEPTION.match(words) and not NAMED.match(words))
        ):
            one.source = words if words.strip("^~ ") else one.source
            continue
        if CANN_CODE.match(words):  # a statement of its own, in the message of an exception too
            one.frames = False
            one.close()
            found.append(Statement(words, "error"))
            continue
        if one.frames or EXCEPTION.match(words) or ABORT.match(words):
            if (
                one.frames
                and words.startswith(("AssertionError", "NotImplementedError"))
                and not words.partition(":")[2].strip()
            ):
                words = "%s: %s (%s)" % (
                    words.rstrip(":"),
                    one.source,
                    one.place,
                )  # it says nothing itself: where it was said must do
            one.frames = False
            if not one.chained and not words.startswith("what():"):  # what() is said of the abort before it
                chains += 1
                one.chain = chains
            one.chained = False
            found.append(Statement(words, "passing" if one.handled else "exception", one.chain))
            one.open_at, one.count = len(found) - 1, 0
            continue
        if words.startswith(("During handling of", "The above exception")):
            one.chained = True
            one.close()
            continue
        if (
            0 <= one.open_at < len(found)
            and one.count < MESSAGE_LINES
            and not CLOSES.match(words)
            and (words.startswith("Value error, ") or not CONSEQUENCE.search(words))
        ):
            if len(found[one.open_at].text) < STATEMENT:
                found[one.open_at] = found[one.open_at]._replace(text=found[one.open_at].text + "\n" + words)
                one.count += 1
            # A line of its own as well: what follows an exception may be the next process's last words.
            if text[:1] in (" ", "\t"):
                continue
        if words.startswith(("raise ", "return ", "^", "~", "foreground: ")):
            continue
        if headline == len(found) - 1 >= 0 and not level:
            found[-1] = found[-1]._replace(text=found[-1].text + " " + words)
            continue
        if found and OF_A_HOOK.match(words) and HOOK_SAID.search(found[-1].text) and found[-1].kind == "error":
            found[-1] = found[-1]._replace(text=found[-1].text + " " + words)
            continue
        if (level and level != "NCCL") or DAEMON.search(words):
            one.handled = one.handled and not CONSEQUENCE.search(words)
            found.append(Statement(words, "passing" if one.handled else "error"))
            one.headline = len(found) - 1 if words.endswith("because:") else -1
        elif level or TELLING.search(words) or SYSTEM.search(words):
            found.append(Statement(words, "words"))
        elif at >= len(lines) - OTHERS:
            found.append(Statement(words, "other"))
    unique: dict[tuple[str, str], Statement] = {}
    for said in found:
        unique.setdefault((said.text, said.kind), said)
    return list(unique.values())


def first_words(text: str) -> str:
    """One line of a statement: its first, with the second where the first says nothing but a name."""
    lines = text.split("\n")
    head = lines[0].strip()
    if len(lines) > 1 and (head.endswith(":") or "validation error" in head):
        head = "%s %s" % (head, " ".join(line.strip() for line in lines[1:3]))
    return head[:300]
