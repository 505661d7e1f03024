"""Failure hints asked last: errors by which a program says no more than that it met what it does not handle."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "sglang-slots",
        r"alloc_\w{1,40} runs out of|set a smaller number for [`']?--max-running-requests",
        "the engine has no place left for a further request: it was given more than max_running_requests allows",
        "lower max_running_requests in engine_args, or use a newer engine if it comes back",
        "sgl-project/sglang#10408",
        "RuntimeError: alloc_req_slots runs out of memory. Please set a smaller number for `--max-running-requests`.",
    ),
    Hint(
        "package-asked-for",
        r"[Pp]lease (?:pip )?install (?:the )?[`'\"]?[\w\[\].-]{2,40}|(?:is|are) not installed\b|pip3? install [\w\[\].=<>'\"-]{2,60}",
        "the environment lacks a package that this model or option needs",
        "install the one that the message names into the environment, use an image that has it, or leave out the option",
        "Python packages' own words",
        "ImportError: Please install vllm[audio] for audio support",
        general=True,
    ),
    Hint(
        "not-implemented",
        r"^NotImplementedError\b",
        "this engine does not do what was asked of it with this model or chip",
        "the message names it: leave out that option or feature, or use a newer engine",
        "Python",
        "NotImplementedError: nobody has seen this one",
        general=True,
    ),
    Hint(
        "hip",
        r"HIP error|hipError[A-Z]\w{1,60}",
        "a call of HIP failed",
        "rocm-smi must show the GPU; HIP_LAUNCH_BLOCKING=1 in the row's env names the call, because HIP may report it later",
        "ROCm, HIP runtime",
        "RuntimeError: HIP error: nobody has seen this one",
        general=True,
    ),
    Hint(
        "engine-fault",
        r"^(?:AttributeError|UnboundLocalError|NameError|IndexError|ZeroDivisionError|RecursionError|AssertionError: (?:assert |\())|^AssertionError$"
        r"|^TypeError: (?:'NoneType'|unsupported operand|\w{1,40} indices must be|argument of type|'\w{1,40}' object is not|cannot unpack)"
        r"|could not broadcast input array|is not initialized\. Please call|^ValueError: (?:not enough|too many) values to unpack|^KeyError: <",
        "the engine's own code met what it does not handle: a fault of this release with this model, option or chip, or packages that don't belong together",
        "look for this line in the engine's issues; try another release, an image as it was built, or leave out the option that the file's name tells",
        "Python, built-in exceptions",
        "UnboundLocalError: local variable 'x' referenced before assignment",
        general=True,
    ),
)
