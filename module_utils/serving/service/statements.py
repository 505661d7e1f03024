"""A log of an engine or a container engine as statements: each error with its message, without prefixes, in the order in which they were said.

This is what reads a log; failures.py asks the rows about what it found. Prefixes are taken off (log_lines.py), what is said in passing (INFO, WARNING,
errors that their own words call handled) is marked, frames of tracebacks are dropped, and each exception knows the chain that it belongs to.
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

from ansible.module_utils.serving.service.exception_words import words_of
from ansible.module_utils.serving.service.log_lines import IN_PASSING, strip

LINES, STATEMENT = 2000, 3000  # a log's last lines, characters of a statement
OTHERS = 20  # last lines of which those without a telling word are kept too
MESSAGE_LINES = 12  # lines of an error's message

GROUP = re.compile(
    r" *(?:[|+](?:[-+ |0-9.]{0,60}(?:-{4,60}|\| |$)| ))"
)  # the frame that Python draws around exception groups

TRACEBACK = "Traceback (most recent call last):"
EXCEPTION = re.compile(
    r"(?:(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]|(?:[A-Za-z_]\w{0,60}\.){1,8}[a-z])\w{0,60}?(?:Error|Exception|Exit|Interrupt|Refused|NotFound|Timeout|Failure|Group|Failed|Unsupported|OutOfResources)"
    r"(?: ?\([^)\n]{0,60}\))?(?::|$)"
)
ABORT = re.compile(
    r"thread '[^'\n]{0,80}' (?:\(\d{1,8}\) )?panicked at "
    r"|terminate called after throwing|what\(\):|Fatal Python error|Check failed:|Assertion [`'].{1,200} failed|Failed to initialize NVML: "
)
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
    r"|^RuntimeError: (?:[Cc]ancelled|Event loop is closed|cannot schedule new futures after shutdown)"
    r"|leaked (?:semaphore|shared_memory)|RPC call to \w{1,40} timed out|ActorDiedError|ncclRemoteError"
    r"|(?<!failed : )Connection (?:reset|closed) by peer"  # NCCL's own warning has the place before it
    r"|failed to be inspected|^Error in inspecting model architecture"
    r"|Exception in ASGI application|Unhandled exception in|Application startup failed|Server process died"
    r"|died, exit code: -?\d|Exception in worker \w{1,40} while processing|Error executing method|output_handler failed|Parent process exited"
    r"|ContextTerminated|recvValue failed|EngineGenerateError|exception was never retrieved|Process group watchdog thread terminated"
    r"|Scheduler hit an exception: Traceback|^(?:RuntimeError: )?Error raised in subprocess|Failed to load the backend extension"
    r"|^make(?:\[\d{1,3}\])?: \*\*\*|process exited, code=exited, status=[12]/|: Failed with result 'exit-code'"
    r"|rtGetDevMsg execute failed|MQLLMEngine is already dead|Retry also failed|Got fatal signal from worker|Worker failed with error"
    r"|^terminate called after throwing|^what\(\): +(?:_Map_base::at|map::at|vector::_M_range_check|basic_string|stoi|bad_\w{1,20})"
    r"|^subprocess\.CalledProcessError|scheduler is dead\b"
    r"|^(?:\S{1,80}: line \d{1,5}: +\d{1,8} )?Killed\b"
    r"|^\"?(?:[Ee]rror )?[Uu]nmounting /"  # podman takes away what it had begun
    r"|subprocess-exited-with-error|metadata-generation-failed|Failed building (?:wheel|editable)|did not run successfully|ninja: build stopped"
)
# Errors that their own words call handled: the process goes on. What they and their tracebacks say is no cause, until its next line of another kind.
HANDLED = re.compile(
    r"Error saving model info cache|--- Logging error ---|^Exception ignored in|_report_usage|usage stats|Error (?:retrieving|getting|reading)"
    r" [^\n]{0,40}(?:safetensors|file list|repo)|[Ff]alling back to|[Ww]ill (?:fall back|be ignored)|, ignoring\b|, skipping\b"
)
# What went wrong and is tried again is no reason: where it fails at last, the last error says so in other words. Nor is the state that vLLM writes down.
RETRIED = re.compile(
    r"(?i)^Dumping (?:input data|scheduler)|\b(?:will (?:re-?try|try again)|re-?trying|trying again|skip plugin)\b(?!\W{0,3}(?:failed|gave up))"
)
# vLLM's own logging puts its head before each line of a traceback: one without it is another's.
HEADED = re.compile(r"\[[\w./-]{1,60}\.py:\d{1,5}\] ")
NESTED = re.compile(r": error: argument [^\n]{1,80}: \d{1,3} validation errors? for \w{1,60} [\w.\[\],' ]{1,120}$")
# An error whose reason is on the next line.
HEADLINE = re.compile(
    r"because:$|^Error:$|[Tt]ransaction (?:test|check) error:$|: error: argument [^\n]{1,80}: \d{1,3} validation errors? for \w{1,60}$"
    r"|^Error: [^\n]{0,200}exit (?:code|status) \d{1,3}:$|Error from child process$"
)
# What ends the message of an exception that goes over several lines.
CLOSES = re.compile(
    r"Process \w|Exception ignored|Aborted|Killed|Segmentation fault|Bus error|double free|\*\*\* |\S{1,80}: line \d|During handling of|The above exception"
)
DAEMON = re.compile(
    r"[Ee]rror response from daemon|^Error:(?: |$)|^docker: |nvidia-container-cli: |OCI runtime|runc (?:run|create) failed|: error: "
)
# A line without a level may be an error only if it holds one of these: engines print thousands that don't.
TELLING = re.compile(
    r"(?i)err|fail|fatal|cannot|can't|couldn't|could not|unable|n't |\bno[nt]?\b|denied|missing|invalid|unknown|unsupported|illegal|killed|fault"
    r"|refus|tim(?:ed?|es) ?out|\btoo\b|abort|exceed|out of|already|unresolv|lost|mismatch|busy|older|limit|alloc|dcmi"
    r"|\bret is\b|requests?:|requires|\bxid\b|\bE[A-Z]\d{4}"
    r"|\bshm\b|exit ?code|assert|terminate|what\(\)|undefined|uncorrectable|only support|insufficient|required|unrecognized|does|stopped|conflict"
    r"|invoking|called before|non-zero|exist|full|unmet|dependency problems|reject|nothing provides|filtered out|in use by"
    r"|\bdead\b|\bdied\b|status=\d|no solution|violation|to be installed"
)
# How programs of Unix end a line that says what the system refused them: `chmod: changing permissions of 'x': Read-only file system`.
SYSTEM = re.compile(
    r": (?:%s)[.\s]*$"
    % "|".join(sorted({re.escape(os.strerror(number)) for number in errno.errorcode}, key=len, reverse=True))
)
# Docker prints what a hook said on a line of its own behind the message that it belongs to.
HOOK_SAID = re.compile(r"stderr: [^\n]{0,80}$")
OF_A_HOOK = re.compile(r"nvidia-container-cli(?:\.real)?: |SIGSEGV|failed to mount ")
# The error that it speaks of is on the next line; Triton shows the kernel's source before it.
INTRODUCES = re.compile(
    r"(?: raised:|following (?:error|exception)[^:\n]{0,60}:)$|^triton\.compiler\.errors\.\w{1,40}: at \d{1,5}:\d{1,5}:"
)
# What an error lists below itself as what was tried: `- ImportError: libx.so: cannot open shared object file`.
LISTED = re.compile(r"[-*\u2022] (?=\S)")
# uv draws the chain of an error as a tree, the deepest cause last: it is read the other way round, as other chains are.
TREE = re.compile(r"(?:├─▶|╰─▶|\|->|`->) ?")  # with box characters, or without
CAUSED = re.compile(r"Caused by: (?=\S)")  # the same without a tree, in programs written in Rust
ANNOUNCED = re.compile(r"(?:TASK|PLAY|RUNNING HANDLER)\b[^\n]{0,300}\*{3,}\s*$")  # what Ansible does next is no error
NO_EXCEPTION = "NoneType: None"  # what logging writes in place of one
SERVING = re.compile(r"Application startup complete|Uvicorn running on")
# What an older vLLM says of a worker's error before its traceback, in the same line.
BEFORE = re.compile(r"while processing method \w{1,60}: (?=\S)([^\n]{1,1400}?)[,.]{1,2} ?$")
FRAME = re.compile(r"\s*File \"")
NAMED = re.compile(r"[A-Za-z_][\w.]{0,120}(?:: .|:?$)")  # may be an exception of any name, not a line of source
PLACE = re.compile(r"((?:[\w.-]{1,60}/)?[\w.-]{1,60})\", line (\d{1,6})")
FILE = re.compile(r"\s*File \"([^\"\n]{1,400})\"")
BARE = re.compile(
    r"(?:\w{1,60}\.){0,6}\w{1,60}\(\)$"
)  # an exception of no words, as repr() writes it: its traceback says more
PANIC = re.compile(r"thread '[^'\n]{0,80}' (?:\(\d{1,8}\) )?panicked at (\S{1,300}):\d{1,7}:\d{1,5}")
NEAR = 3  # lines behind an error that is handled, within which its own traceback begins
FRAMES = 40  # frames of a traceback that are kept: the innermost


class Statement(NamedTuple):
    text: str
    kind: str  # "exception", "error" (a line of that level), "words" (without one), "passing", "other" (a last line without a telling word)
    chain: int = 0  # exceptions that were raised while the one before was handled share it
    files: tuple[str, ...] = ()  # of its traceback's frames, the innermost last

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
        self.files: list[str] = []  # of the frames so far
        self.open_at, self.count = -1, 0  # index of its last exception, lines of its message so far
        self.chained = False  # the next exception belongs to the last one's chain
        self.chain = 0
        self.handled = False
        self.level = ""  # of the line that said so, where each line of its traceback has it
        self.handled_at = 0  # the number of that line
        self.tree = -1  # where in the list the error stands whose causes are drawn below it
        self.headline = -1  # index of an error line that ends in a colon: the next line belongs to it

    def close(self) -> None:
        self.open_at = -1


class Line(NamedTuple):
    """A line that is read: its level, its text with the indentation, and its words as they are compared."""

    level: str
    text: str
    words: str

    @property
    def raised(self) -> bool:
        return bool(EXCEPTION.match(self.words))


class Reading:
    """A log, line by line. A method per kind of line says whether the line was of that kind; the first that says so ends its reading."""

    def __init__(self) -> None:
        self.found: list[Statement] = []
        self.speakers: dict[str, Speaker] = {}
        self.chains, self.number = 0, 0

    def read(self, line: str, last: bool) -> None:
        """`last`: one of the log's last lines, which count without a telling word too."""
        self.number += 1
        who, level, text = strip(line)
        one = self.speakers.setdefault(who, Speaker())
        frame = GROUP.match(text)
        if frame and frame.end() and (one.frames or "Exception Group" in text):
            text = text[frame.end() :]
        said = Line(level, text, words_of(text))
        if level in IN_PASSING:
            one.close()
            one.handled = False
            self.add(text, "passing")
        if self.came_up(said) or self.tried_again(one, said) or self.branch(one, said):
            return
        if level in IN_PASSING or not said.words or said.words == NO_EXCEPTION:
            return
        headline, one.headline = one.headline, -1
        if HANDLED.search(said.words) and not said.raised:
            one.handled, one.level, one.handled_at = True, level if HEADED.search(line) else "", self.number
        kinds = (self.frame, self.source, self.cann_code, self.exception, self.link, self.message)
        if any(kind(one, said) for kind in kinds) or said.words.startswith(
            ("raise ", "return ", "^", "~", "foreground: ")
        ):
            return
        if (headline == len(self.found) - 1 >= 0 and not level) or self.of_a_hook(said):
            self.longer(len(self.found) - 1, " " + said.words)
            if NESTED.search(
                self.found[-1].text
            ):  # the field's name stands on one line, what is wrong with it on the next
                one.headline = headline
        else:
            self.error(one, said, last)

    def add(self, text: str, kind: str, chain: int = 0, files: tuple[str, ...] = ()) -> None:
        self.found.append(Statement(text, kind, chain, files))

    def longer(self, at: int, text: str) -> None:
        self.found[at] = self.found[at]._replace(text=self.found[at].text + text)

    def came_up(self, said: Line) -> bool:
        """What was said before was no reason to fail."""
        up = bool(SERVING.search(said.words)) and not said.raised
        if up:
            self.found, self.speakers = [], {}
        return up

    def tried_again(self, one: Speaker, said: Line) -> bool:
        again = bool(RETRIED.search(said.words)) and said.level not in IN_PASSING and not said.raised
        if again:
            one.close()
            self.add(said.words, "passing")
        return again

    def branch(self, one: Speaker, said: Line) -> bool:
        """A cause in the tree below an error, said before it."""
        caused = CAUSED.match(said.words)
        if caused and one.tree < 0:
            one.tree = len(self.found) - 1
        branch = TREE.match(said.words) or caused
        if branch and one.tree >= 0:
            self.found.insert(one.tree, Statement(said.words[branch.end() :], "words"))
            return True
        one.tree = len(self.found) if said.words.startswith(("\u00d7 ", "x Failed ")) else -1
        return False

    def frame(self, one: Speaker, said: Line) -> bool:
        """The head of a traceback, or the place of one of its frames."""
        headed = "recent call last" in said.words
        if not (
            (said.words.startswith(TRACEBACK[:9]) and headed)
            or said.words.endswith(TRACEBACK)
            or FRAME.match(said.text)
        ):
            return False
        before = BEFORE.search(said.words[: -len(TRACEBACK)]) if said.words.endswith(TRACEBACK) else None
        if before:
            self.add(before[1], "words")
        its_own = one.level in ("", said.level) and (one.chained or one.frames or self.number - one.handled_at <= NEAR)
        one.handled = one.handled and (one.chained or one.open_at < 0) and its_own
        if not one.frames:
            one.files = []
            one.indent = max(indentation(said.text) - (0 if headed else 2), 0)
        one.frames = True
        one.source_next = bool(FRAME.match(said.text))
        one.close()
        place = PLACE.search(said.text)
        one.place = "%s:%s" % place.groups() if place else one.place
        file = FILE.match(said.text)
        one.files = [*one.files[1 - FRAMES :], file[1]] if file else one.files
        return True

    def source(self, one: Speaker, said: Line) -> bool:
        """A line of source in a traceback. Where a log lost its indentation (a web form's), it is the one behind a frame's place all the same."""
        expected, one.source_next = one.source_next, False
        marks = not said.words.strip("^~ ")
        if not one.frames or not (
            indentation(said.text) > one.indent
            or marks
            or (expected and not said.raised and not NAMED.match(said.words))
        ):
            return False
        one.source = one.source if marks else said.words
        return True

    def cann_code(self, one: Speaker, said: Line) -> bool:
        """A statement of its own, in the message of an exception too."""
        if not CANN_CODE.match(said.words):
            return False
        one.frames = False
        one.close()
        self.add(said.words, "error")
        return True

    def exception(self, one: Speaker, said: Line) -> bool:
        words = said.words
        if not (one.frames or said.raised or ABORT.match(words)):
            return False
        if not one.frames and BARE.match(words):
            self.add(words, "words")
            return True
        silent = (
            words.startswith(("AssertionError", "NotImplementedError", "MemoryError"))
            and not words.partition(":")[2].strip()
        )
        if one.frames and silent:  # where it was said must do
            words = "%s: %s (%s)" % (words.rstrip(":"), one.source, one.place)
        one.frames = False
        panic = PANIC.match(words)
        files, kind = (panic[1],) if panic else tuple(one.files), "passing" if one.handled else "exception"
        one.files = []
        before = self.found[one.open_at] if 0 <= one.open_at < len(self.found) else None
        if before and INTRODUCES.search(before.text):
            self.found[one.open_at] = Statement(words, kind, one.chain, before.files or files)
            one.chained = False
            return True
        if not one.chained and not words.startswith("what():"):  # what() is said of the abort before it
            self.chains += 1
            one.chain = self.chains
        one.chained = False
        self.add(words, kind, one.chain, files)
        one.open_at, one.count = len(self.found) - 1, 0
        return True

    def link(self, one: Speaker, said: Line) -> bool:
        """The words between two exceptions of a chain."""
        if not said.words.startswith(("During handling of", "The above exception")):
            return False
        one.chained = True
        one.close()
        return True

    def message(self, one: Speaker, said: Line) -> bool:
        """A further line of an exception's message. One that is not indented counts by itself as well: it may be the next process's last words."""
        if not (
            0 <= one.open_at < len(self.found)
            and one.count < MESSAGE_LINES
            and not CLOSES.match(said.words)
            and (said.words.startswith("Value error, ") or not CONSEQUENCE.search(said.words))
        ):
            return False
        listed = LISTED.match(said.words)
        if listed and EXCEPTION.match(said.words[listed.end() :]):  # a reason of that error, said before it
            heading = self.found[one.open_at]
            self.found[one.open_at] = heading._replace(text=said.words[listed.end() :])
            self.found.append(heading)
            one.open_at = len(self.found) - 1
            return True
        if len(self.found[one.open_at].text) < STATEMENT:
            self.longer(one.open_at, "\n" + said.words)
            one.count += 1
        return said.text[:1] in (" ", "\t")

    def of_a_hook(self, said: Line) -> bool:
        """Belongs to the error before it."""
        before = self.found[-1] if self.found and OF_A_HOOK.match(said.words) else None
        return before is not None and before.kind == "error" and bool(HOOK_SAID.search(before.text))

    def error(self, one: Speaker, said: Line, last: bool) -> None:
        if (said.level and said.level != "NCCL") or DAEMON.search(said.words):
            one.handled = one.handled and not CONSEQUENCE.search(said.words)
            self.add(said.words, "passing" if one.handled else "error")
            one.headline = len(self.found) - 1 if HEADLINE.search(said.words) else -1
        elif said.level or TELLING.search(said.words) or SYSTEM.search(said.words):
            self.add(said.words, "words")
        elif last:
            self.add(said.words, "other")


def indentation(text: str) -> int:
    return len(text) - len(text.lstrip())


def statements(lines: list[str]) -> list[Statement]:
    """What the log's last lines say, in order: each exception with its message, each error, each line that may be one."""
    reading, lines = Reading(), lines[-LINES:]
    for at, line in enumerate(lines):
        if not ANNOUNCED.match(line):
            reading.read(line, at >= len(lines) - OTHERS)
    unique: dict[tuple[str, str], Statement] = {}
    for said in reading.found:
        unique.setdefault((said.text, said.kind), said)
    return list(unique.values())


def first_words(text: str) -> str:
    """One line of a statement: its first, with the second where the first says nothing but a name."""
    lines = text.split("\n")
    head = lines[0].strip()
    if len(lines) > 1 and (head.endswith(":") or "validation error" in head):
        head = "%s %s" % (head, " ".join(line.strip() for line in lines[1:3]))
    return head[:300]
