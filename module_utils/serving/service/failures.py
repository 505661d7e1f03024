"""Why an engine failed, from its log and exit code: the first error of the chain, and what it means.

The rows are data (hints/hint.py says how to add one); statements.py reads the log. This asks the rows about what it found: about the errors in
the order in which they were said, then about lines of no level where these may count, the consequences ("See root cause above") last. A general
row may speak of the first error and its chain only. An error that no row knows may give its own reason (own_words.py); any other gets no meaning:
a wrong one sends a person the wrong way. A cause is told as the cause only where a row that proves it (`Hint.proves`) knows the first error, its chain,
or what is all that was said; any other is told as one that is possible, beside the first error.
"""

from __future__ import annotations

import re
import signal
from functools import lru_cache
from typing import Iterable, NamedTuple

from ansible.module_utils.serving.service.container_words import refused
from ansible.module_utils.serving.service.crashes import crashed_in
from ansible.module_utils.serving.service.cuda_names import in_words
from ansible.module_utils.serving.service.hints import faults, unfinished
from ansible.module_utils.serving.service.hints.hint import Hint
from ansible.module_utils.serving.service.hints.tables import EXACT, HINTS, OF_NPUS
from ansible.module_utils.serving.service.own_words import told
from ansible.module_utils.serving.service.raised_in import raised_in
from ansible.module_utils.serving.service.setting_words import settings_named
from ansible.module_utils.serving.service.sglang_words import in_its_words, said_by_sglang
from ansible.module_utils.serving.service.statements import CANN_CODE, PANIC, Statement, first_words, statements
from ansible.module_utils.serving.service.system_reasons import gives_another_reason, speaks_of

PARSED, VALIDATED = "unknown-option", "engine-validation"  # rows of what argparse and pydantic say
OWN_WORDS = "own-words"  # the name of what no row but the error itself explains
RAISED_IN = "raised-in"  # of what no words explain, but whose code raised it

POSSIBLE = "one possible cause"
APART = POSSIBLE + ", by what was said apart from the first error (%s): %s"

ASKED = 150  # statements from each end of a log about which the rows are asked: the first error counts, and the last words may be all there is
# Lines of no level that count beside an error that nobody knows: shells and libraries say much in passing.
EMPHATIC = re.compile(
    r"(?i)\berror\b|fatal|fail|killed|core dumped|cannot open shared object|no space left|out of memory|segmentation|\bxid\b|\bE[A-Z]\d{4}\b"
)
# NCCL warns of each way that it tries; its words count where something says that communication failed.
OF_NCCL = re.compile(r"(?i)nccl|torch\.distributed|c10d|ProcessGroup|DistBackend")
# A warning counts as an error where a later one says that what it warned of is missing: a library that could not be loaded, a package index that
# was not reached, a driver that CUDA does not get on with.
WARNED = (
    (
        re.compile(
            r"Failed to (?:import|load)(?! [^\n]{0,80}No module named '?vllm\._)"
            r"(?=[^\n]{0,300}(?:\.so\b|undefined symbol|_C\b|\bvllm\w{0,20}\._|plugin (?!lora_)))"
        ),
        re.compile(
            r"'_OpNamespace' '|Failed to infer device type|Device string must not be empty|No module named '?vllm\._"
        ),
    ),
    # A name that a module lacks is of a compiled part where that could not be bound; one of `typing` is a mistake in the code.
    (
        re.compile(r"Failed to (?:import|load)[^\n]{0,400}undefined symbol"),
        re.compile(
            r"NameError: name '(?!(?:Any|Callable|ClassVar|Dict|Generic|Iterable|Iterator|List|Literal|Optional|Sequence|Set|Tuple|Type|TypeVar|Union)')"
        ),
    ),
    (re.compile(r"Failed to import from vllm\._"), re.compile(r"failed to be inspected")),
    (
        re.compile(r"Retrying \(Retry\([^\n]{0,200}connection broken by"),
        re.compile(r"\(from versions: none\)|No matching distribution found"),
    ),
    (
        re.compile(r"[^\n]{0,300}Warning: CUDA initialization: "),
        re.compile(
            r"No CUDA GPUs are available|Failed to infer device type|Torch not compiled with CUDA|no (?:GPU|accelerator)"
        ),
    ),
)

# An error that only names what was looked up: a later one of its chain says for what. CANN's heading of what it says in the lines below.
SAYS_LITTLE = re.compile(r"KeyError\b|IndexError\b|StopIteration\b|E[A-Z1-9]9999: Inner Error|ERR\d{5} \w+ call")

# An error of which there is no more than its kind: what came of it may say more.
WORDLESS = re.compile(r"[\w.]+$")
# What the engine says in passing of a process that it waits for: all that there is of one that hangs.
WAITS = re.compile(r"No available shared memory broadcast block found")

# What failed in a call of CANN: its own words stand below, and may be exact where the call is not.
CALLS_CANN = re.compile(r"NPU (?:function )?error|\baclnn\w|\bacl(?:rt)?[A-Z]|\bHccl\w|HCCL")
# MindSpore says that CANN's own words come below; the code there is the cause.
REFERS = re.compile(r"'?Ascend Error Message|[^\n]{0,200}Inner error is reported as above")

# Messages inside of messages: each layer of a container engine escapes the quotes of the one below it.
ESCAPED_QUOTE = re.compile(r'\\{1,16}"')

# A code of CANN (aclError, aclnn) in each of the ways in which torch-npu, MindSpore, lmdeploy and CANN's own logs write one.
CODE_OF_CANN = re.compile(
    r"(?i:\berror ?code(?: is)?|\berr(?:or)?code|\bret(?:code)?|\bruntime result|\baclError|\bfailed(?:, return)?)(?: ?[:=] ?| |\[)"
    r"(?=(?:10[07]|145|148|161|20[07]|361|50[07]|561)\d{3}\b)"
)

SIGNALS = {
    signal.SIGKILL: (
        "the process was killed (SIGKILL), most often for lack of memory",
        "see dmesg; lower kv_cache_memory_bytes or run fewer services",
    ),
    signal.SIGILL: (
        "the engine was ended by an illegal instruction (SIGILL), most often because this build uses instructions that the host's CPU does not have",
        "use a build for this CPU (lscpu shows avx2 and avx512f, on Arm atomics and asimdhp), or another host",
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
FROM_OUTSIDE = ("-137", "-9", "-143", "-15", "-130", "-2")  # names of codes of signals that others send
CODES = {
    0: ("the engine ended by itself without an error code", "a server must not end: look at its last lines, and at what the start script runs"),
    125: ("the container engine could not make the container", "its own message in the log says why"),
    126: ("what the start script names may not be executed, or is for another architecture", "check its mode, noexec mounts and uname -m"),
    127: ("a program that the start script names is not there", "run deploy.yml again, it finds what is missing; in an image check `activate`"),
}  # fmt: skip


# `re` itself keeps 512 patterns, fewer than there are rows: it would compile each one anew for every statement.
@lru_cache(maxsize=None)
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Explanation(NamedTuple):
    meaning: str | None  # cause and remedy in one line; None if nobody knows
    root: str | None  # the error that came first, in the engine's own words
    hint: str | None  # name of the row (or of the exit code) that knew it
    sure: bool = False  # the meaning is the cause; else it says itself that it is a possible one


def what_that(meaning: str) -> str:
    """How a meaning is told behind "what": as the cause, or as a possible one."""
    return "that %s: %s" % ("may mean" if meaning.startswith(POSSIBLE) else "means", meaning)


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
    """What the last lines of a log (and the exit code, negative for a signal) mean."""
    found = cause(lines, code)
    if found.meaning and said_by_sglang(lines):
        found = found._replace(meaning=in_its_words(found.meaning, lines))
    where = crashed_in(lines) if found.meaning and "Fatal Python error" in (found.root or "") else None
    return found._replace(meaning="%s; it was in %s" % (found.meaning, where)) if where else found


def cause(lines: list[str], code: int | None) -> Explanation:
    """The same, without where in the code it was.

    The first error and its chain decide where a specific row knows one of them; else the first other statement that one knows; then words that are
    decisive in passing; then a signal; then general rows about the first error and its chain, and other codes.
    """
    said = statements(lines)
    warned = set()  # what was said in passing and counts: never sure
    for warning, missing in WARNED:
        if any(missing.search(one.text) for one in said if one.kind != "passing"):
            warned |= {one.text for one in said if one.kind == "passing" and warning.match(one.text)}
            said = [one._replace(kind="exception") if warning.match(one.text) else one for one in said]
    firm = [one for one in said if one.kind not in ("passing", "other")]
    firm = firm if len(firm) <= 2 * ASKED else firm[:ASKED] + firm[-ASKED:]
    errors = [one for one in firm if one.kind != "words" and not one.consequence]
    root = next((one for one in errors if one.kind == "exception"), errors[0] if errors else None)
    chain = [one for one in errors if root and one.kind == root.kind and one.chain == root.chain]
    behind = [one for one in errors if root and REFERS.search(root.text) and CANN_CODE.match(one.text)]
    generally = known(sorted(behind + chain, key=lambda one: bool(SAYS_LITTLE.match(one.text))), general=True)
    telling = next((one for one in chain if not SAYS_LITTLE.match(one.text)), root)
    # The kind of an error that only names what was looked up says nothing of the one that is shown in its place.
    if generally and generally[0].name in faults.OF_A_KIND and SAYS_LITTLE.match(generally[1].text):
        generally = generally if generally[1] == telling else None
    if generally and generally[0].name == VALIDATED and not settings_named(generally[1].text) and told([generally[1]]):
        generally = None  # the engine's own sentence says more than that it refused something
    itself = told(chain) or refused(chain) if generally is None or generally[0] in faults.LAST else None
    words = [
        one for one in firm if one.kind == "words" and not one.consequence and may_count(one, errors, bool(generally))
    ]
    last = [one for one in firm if one.consequence]
    found = (
        known(chain)
        or known(errors + words)
        or known(said, passing=True)
        or (None if generally or itself else known(last))
    )
    if root and WORDLESS.match(root.text):
        generally = known([one for one in last if one.chain == root.chain], general=True) or generally
    if not found and not firm:  # nothing that sounds like an error: a row may know the last words all the same
        found = known([one for one in said if one.kind == "other"])
        found = found or known([one for one in said if WAITS.match(one.text)], general=True)
    if found and found[0].late:
        before = [one for one in firm[: firm.index(found[1])] if not one.consequence] if found[1] in firm else []
        found = known(before) or found
    if found and found[0].late and found[0] in OF_NPUS:  # the report of an NPU begins with what says least
        found = known(firm, among=EXACT) or found
    if found and root and not found[0].proves and CALLS_CANN.search(root.text):
        exact = known([one for one in errors if CANN_CODE.match(one.text)])
        found = exact if exact and exact[0].proves else found
    signal_row, code_row = by_code(code, True), by_code(code, False)
    panicked = telling is not None and bool(PANIC.match(telling.text))  # its file is the place of the panic itself
    unknown = (
        generally is None
        or generally[0].name in faults.OF_A_KIND
        or (generally[0] in faults.LAST and (panicked or generally[0].name not in faults.SAYS_WHERE))
    )
    if telling and unknown and not found and not itself and not signal_row:
        whose = raised_in(telling)
        if whose:
            return Explanation("%s: %s" % (POSSIBLE, whose), first_words(telling.text), RAISED_IN)
    if not found and (not signal_row or code in (-signal.SIGABRT, 128 + signal.SIGABRT)):
        found = (None if itself else generally) or (None if root else known(words + last, general=True))
    if found:
        row, one = found
        named = settings_named(one.text) if row.name in (PARSED, VALIDATED) else None
        meaning, first = named or row.told, one
        apart = (
            root is not None
            and stands_apart(one, chain, bool(generally))
            and not any(knows(row, said) for said in chain)
        )
        if root and (apart or one.consequence):
            first = root
        if apart:
            meaning = APART % (first_words(one.text)[:120], meaning)
        whose = raised_in(one, explained=True) if row.name in faults.OF_ANY_PART else None
        meaning = "%s; %s" % (meaning, whose) if whose else meaning
        sure = bool(row.proves or named) and not apart and one.text not in warned and not another_reason(row, one)
        if not sure and not apart:
            meaning = "%s: %s" % (POSSIBLE, meaning)
        return Explanation(meaning, first_words(first.text), row.name, sure)
    if itself and not signal_row:
        meaning, one, sure = itself
        return Explanation(meaning if sure else "%s: %s" % (POSSIBLE, meaning), first_words(one.text), OWN_WORDS, sure)
    one_of_all = telling or next((one for one in firm if one.kind != "words"), None)
    one_of_all = one_of_all or next((one for one in firm if EMPHATIC.search(one.text)), firm[-1] if firm else None)
    shown = first_words(one_of_all.text) if one_of_all else None
    by = signal_row or code_row
    if not by:
        last_words = said[-1:] or [Statement(line, "passing") for line in lines[-1:]]
        ends = None if firm else known(last_words, among=unfinished.HINTS)
        if ends is None:
            return Explanation(None, shown, None)
        return Explanation("%s: %s" % (POSSIBLE, ends[0].told), first_words(ends[1].text), ends[0].name)
    proven = not (
        root and by is signal_row and by[0].endswith(FROM_OUTSIDE)
    )  # who killed it may have done so because of that error
    return Explanation(("" if proven else POSSIBLE + ": ") + "%s: %s" % by[1:], shown, by[0], proven)


def stands_apart(one: Statement, chain: list[Statement], generally: bool) -> bool:
    """Whether a statement is no part of the first error: another traceback's, or a line beside an error that nobody knows even in general."""
    if one.consequence:
        return True
    return one not in chain and not CANN_CODE.match(one.text) and not (generally and one.kind != "exception")


def may_count(one: Statement, errors: list[Statement], generally: bool) -> bool:
    """A line of no level explains where nothing else was said, or beside an error that is known in general, or if it is emphatic."""
    if "NCCL WARN" in one.text[:200]:
        return not errors or any(OF_NCCL.search(other.text) for other in errors)
    return not errors or generally or bool(EMPHATIC.search(one.text))


def known(
    said: Iterable[Statement], general: bool = False, passing: bool = False, among: tuple[Hint, ...] = HINTS
) -> tuple[Hint, Statement] | None:
    """The first statement that a row of this kind knows, and the first row that knows it."""
    rows = [row for row in among if row.general is general and row.passing is passing]
    return next(((row, one) for one in said for row in rows if knows(row, one)), None)


def in_one_line(one: Statement) -> str:
    return ESCAPED_QUOTE.sub('"', one.text.replace("\n", " "))


@lru_cache(maxsize=1024)
def wordings(text: str) -> tuple[str, ...]:
    """A statement as it was said, and as rows are written where it gives a code of CANN in other words, or an error of CUDA by its name."""
    return tuple(dict.fromkeys((text, CODE_OF_CANN.sub("error code is ", text), in_words(text))))


def another_reason(row: Hint, one: Statement) -> bool:
    """Whether a statement that a row knows gives a reason of the system of which the row does not know."""
    return bool(gives_another_reason("\n".join((row.pattern, row.cause, row.remedy, row.example)), in_one_line(one)))


def knows(row: Hint, one: Statement) -> bool:
    """Whether a row's pattern is in a statement; a specific row must also speak of the system's reason."""
    texts = wordings(in_one_line(one))
    match, text = next(((found, text) for text in texts if (found := compiled(row.pattern).search(text))), (None, ""))
    return match is not None and (row.general or bool(speaks_of(row.cause + " " + row.remedy, match[0], text)))
