"""What `nvidia-smi -q -x` printed -> values. Standard library only, Python 3.8.

Element names of the XML moved between its DTDs (v4 to v13 are read), and any element may hold a sentence instead of a value:
N/A, [Not Supported], «GPU is lost», ERR!, «Insufficient Permissions». `value` is the one place that tells them apart; numbers
and versions are taken only from text of their own shape. Around the XML there may be warnings, on either stream.
"""

from __future__ import annotations

import re
import signal
import xml.etree.ElementTree as xml
from typing import NamedTuple
from xml.sax.saxutils import escape

from ansible.module_utils.serving.errors import Refusal

# What stands where a value should be: words of nvidia-smi and NVML's error texts (nvmlErrorString).
NO_VALUE = re.compile(
    r"\[.*\]|N/?A|None|-|ERR!?|Unknown|Unknown Error|Error|No data|Timeout|Uninitialized|Insufficient Permissions|No permission.*"
    r"|.*not (supported|found|available).*|.*deprecated.*|.*is lost.*|.*fallen off the bus.*|.*requires? (a )?reset.*|Reset required"
    r"|Driver not loaded|.*blocked by the operating system.*|In use by another client.*|.*is corrupted.*",
    re.I | re.S,
)
# Exit codes as nvidia-smi(1) and NVML name them.
EXITS = {
    2: "an argument is invalid",
    3: "the operation is not available on this board",
    4: "this user has no permission",
    6: "no device was found",
    8: "a board's external power cables are not attached",
    9: "the NVIDIA driver is not loaded",
    10: "the kernel has trouble with a GPU's interrupts",
    12: "the NVML library is not found",
    13: "the NVML library lacks a function",
    14: "an infoROM is corrupted",
    15: "a GPU has fallen off the bus",
    16: "a GPU requires a reset",
    17: "the operating system blocks the device",
    18: "driver and library have different versions",
    127: "nvidia-smi is not installed",
    255: "unknown error",
}
BROKEN = (8, 10, 15, 16)  # codes that mean a fault though all of the log came
LINES = 4  # lines beside the log that are shown


class Log(NamedTuple):
    """What nvidia-smi said: `root` is None where it printed no whole log, and `said` tells what came instead."""

    root: xml.Element | None
    dtd: str | None
    beside: list[str]  # lines before and after the log, on either stream
    said: str


def exit_name(code: int) -> str:
    """`14` -> `exit code 14: an infoROM is corrupted`."""
    number = -code if code < 0 else code - 128 if code > 128 and code not in EXITS else 0
    try:
        return "ended by %s" % signal.Signals(number).name
    except ValueError:
        return "exit code %d%s" % (code, ": " + EXITS[code] if code in EXITS else "")


def parse_xml(text: str) -> xml.Element:
    """The log's root. Refusal for what is no such log, and for DTD tricks: an entity could grow or read files."""
    prolog = text.partition("<nvidia_smi_log")[0]
    if re.search(r"<!(ENTITY|ELEMENT|ATTLIST|NOTATION)", prolog) or re.search(r"<!DOCTYPE[^>\[]*\[", prolog):
        raise Refusal(
            "nvidia-smi's XML declares entities or elements, which it never does; is another program called so?"
        )
    try:
        root = xml.fromstring(text)  # noqa: S314 (declarations are refused above)
    except (xml.ParseError, ValueError):
        try:
            root = xml.fromstring(clean(text))  # noqa: S314
        except (xml.ParseError, ValueError) as error:
            raise Refusal("nvidia-smi's XML can't be read (%s); run `nvidia-smi -q -x` by hand" % error) from None
    if root.tag != "nvidia_smi_log":
        raise Refusal("nvidia-smi's XML is <%s>, not <nvidia_smi_log>" % root.tag)
    return root


def clean(text: str) -> str:
    """The log without characters that XML forbids; names of processes, which some drivers don't escape, are escaped."""
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "?", text)
    return re.sub(
        r"<process_name>(.*?)</process_name>",
        lambda found: "<process_name>%s</process_name>" % escape(found.group(1)),
        text,
        flags=re.S,
    )


def read_log(code: int | None, out: str, error: str) -> Log:
    """The log among whatever else was printed. `code` is None where nvidia-smi could not be run; `error` says why then."""
    text, other = (out, error) if "<nvidia_smi_log" in out or "<nvidia_smi_log" not in error else (error, out)
    start = re.search(r"<\?xml|<!DOCTYPE|<nvidia_smi_log", text)
    plain = " ".join((out + " " + error).split())
    if start is None:
        said = plain[:300] or "it said nothing"
        return Log(None, None, [], said if code in (None, 0) else "%s (%s)" % (said, exit_name(code or 0)))
    end = text.find("</nvidia_smi_log>")
    stop = end + len("</nvidia_smi_log>")
    rest = [text[: start.start()], text[stop:] if end >= 0 else "", other]
    rest = [re.sub(r"<nvidia_smi_log.*?</nvidia_smi_log>", "", part, flags=re.S) for part in rest]  # a second log
    lines = [" ".join(line.split()) for part in rest for line in part.strip("\ufeff").splitlines()]
    beside = list(dict.fromkeys(line[:300] for line in lines if line and not line.startswith("<")))[:LINES]
    dtd = re.search(r"nvsmi_device_(v\d+)\.dtd", text[start.start() :][:500])
    if end < 0:
        why = exit_name(code) if code else "it went on no further"
        said = "its log breaks off after %d characters (%s)" % (len(text) - start.start(), why)
        return Log(None, dtd.group(1) if dtd else None, beside, "; ".join([said, *beside]))
    try:
        root = parse_xml(text[start.start() : stop])
    except Refusal as refusal:
        return Log(None, dtd.group(1) if dtd else None, beside, str(refusal))
    return Log(root, dtd.group(1) if dtd else None, beside, "")


def raw(node: xml.Element, path: str) -> str:
    """The text at a path as it stands, words included; empty where there is none. For showing, and for names of processes."""
    return " ".join((node.findtext(path) or "").split())


def sentences(node: xml.Element) -> set[str]:
    """What all elements of a GPU say, without the names of processes, which may say anything."""
    parts = [child for child in node if child.tag not in ("processes", "accounted_processes")]
    return {" ".join((leaf.text or "").split()) for part in parts for leaf in part.iter()}


def values(node: xml.Element, path: str) -> list[str]:
    """What the elements at a path say, without those that are empty or say in words that there is no value."""
    texts = [" ".join((element.text or "").split()) for element in node.findall(path)]
    return [text for text in texts if text and not NO_VALUE.fullmatch(text)]


def value(node: xml.Element, *paths: str) -> str | None:
    """The first of the paths that has a value; None where all are absent, empty, or words."""
    return next((text for path in paths for text in values(node, path)), None)


def shaped(node: xml.Element, pattern: str, *paths: str) -> str | None:
    """A value that has to look like something; None for anything else."""
    text = value(node, *paths)
    return text if text and re.fullmatch(pattern, text) else None


def number(node: xml.Element, *paths: str) -> int | None:
    """A count, with or without a unit behind it; None for words."""
    text = shaped(node, r"[0-9]{1,15}( [^0-9]*)?", *paths)
    return int(text.split()[0]) if text else None


def mebibytes(node: xml.Element, *paths: str) -> int | None:
    """`81559 MiB` -> bytes. Drivers before 340 wrote MB and meant the same."""
    text = shaped(node, r"[0-9]{1,12} Mi?B", *paths)
    return int(text.split()[0]) << 20 if text else None


def version(node: xml.Element, *paths: str) -> str | None:
    return shaped(node, r"[0-9]+(\.[0-9]+)*", *paths)
