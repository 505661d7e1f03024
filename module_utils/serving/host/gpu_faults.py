"""What an element of nvidia-smi's log means for the operator. Standard library only, Python 3.8.

FAULTS has a row for each fault: where it stands, what is bad, how bad, what it means, what helps. A new one is added there and
nowhere else. The severity decides: a `note` is shown and stops nothing; every other one stops a deploy.
Sources: nvidia-smi(1), NVML API Reference (nvmlDeviceGpuRecoveryAction_t, fabric definitions), GPU Memory Error Management,
Dynamic Page Retirement.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from typing import Any, Callable, NamedTuple

from ansible.module_utils.serving.host.nvidia_smi import raw, sentences, values

# From mild to grave: nothing to do now; a setting; move the load away; reset the GPU; reboot the host; replace the board.
SEVERITIES = ("note", "set", "drain", "reset", "reboot", "replace")
RESET = (
    "end what runs on it and reset it: nvidia-smi --gpu-reset -i {index} "
    "(boards with NVSwitches: all GPUs at once, without -i; in a virtual machine: reboot it)"
)
REPLACE = "move its services and have it replaced"
SILENT = "dmesg says why (Xid, or a driver that may not be asked); reboot the host, and have the board replaced if it stays so"
FABRIC = "look at nvidia-fabricmanager, whose version must be the driver's (journalctl -u nvidia-fabricmanager)"


def yes(text: str) -> bool:
    return text.lower() in ("yes", "true", "active")


def off(text: str) -> bool:
    return text.lower() == "disabled"


def one_of(*words: str) -> Callable[[str], bool]:
    return lambda text: text.lower() in [word.lower() for word in words]


def other_than(*words: str) -> Callable[[str], bool]:
    return lambda text: text.lower() not in [word.lower() for word in words]


def at_least(limit: int) -> Callable[[str], bool]:
    """Counts, with or without a unit; words never are."""

    def bad(text: str) -> bool:
        found = re.fullmatch(r"([0-9]{1,15})( [^0-9]*)?", text)
        return bool(found) and int(found.group(1)) >= limit  # type: ignore[union-attr]

    return bad


class Fault(NamedTuple):
    """A row: the first of `paths` below <gpu> that has a value is asked whether it is `bad`."""

    paths: tuple[str, ...]
    bad: Callable[[str], bool]
    severity: str
    meaning: str  # continues «GPU 3 (bus id)»; one that ends with a colon has the value behind it
    remedy: str  # may name the GPU's {index}


# What NVML's recovery actions are called; the driver's later ones fall to the last row about them.
RESETS, REBOOTS = ("Reset", "GPU Reset", "Bus Reset"), ("Reboot", "Node Reboot", "System Reboot")
DRAINS = ("Drain P2P", "Drain and Reset")
SUMMARY = "fabric/health/summary"
ECC = "ecc_errors/volatile/"
THROTTLE = ("clocks_event_reasons/clocks_event_reason_%s", "clocks_throttle_reasons/clocks_throttle_reason_%s")
FAULTS = (
    Fault(("gpu_recovery_action",), one_of(*RESETS), "reset", "asks for recovery:", RESET),
    Fault(("gpu_recovery_action",), one_of("Drain and Reset"), "reset", "asks for recovery:",
          "drain the host: end every service that uses several GPUs; then " + RESET),
    Fault(("gpu_recovery_action",), one_of("Drain P2P"), "drain", "asks for recovery:",
          "end every process that uses several GPUs, turn persistence mode off, and look again: the driver names the next step then"),
    Fault(("gpu_recovery_action",), one_of(*REBOOTS), "reboot", "asks for recovery:", "reboot the host"),
    Fault(("gpu_recovery_action",), other_than(*RESETS, *DRAINS, *REBOOTS), "drain", "asks for recovery:",
          "drain the host and do that (nvidia-smi(1), GPU Recovery Action)"),
    Fault(("gpu_reset_status/reset_required",), yes, "reset", "requires a reset", RESET),
    Fault(("gpu_reset_status/drain_and_reset_recommended",), yes, "reset", "should be drained and reset", RESET),
    # Memory: rows are remapped (Ampere and later) or pages retired (before) at the next reset.
    Fault(("remapped_rows/remapped_row_pending", "remapped_rows/remapped_row_pend"), yes, "reset", "has memory rows that wait to be remapped", RESET),
    Fault(("remapped_rows/remapped_row_failure",), yes, "replace", "has failed to remap memory rows", REPLACE),
    Fault(("remapped_rows/row_remapper_histogram/row_remapper_histogram_none",), at_least(1), "note", "has memory banks without spare rows",
          "the next error there can't be mended; plan to have the board replaced"),
    Fault(("retired_pages/pending_retirement", "retired_pages/pending_blacklist"), yes, "reset", "has memory pages that wait to be retired", RESET),
    Fault(("retired_pages/double_bit_retirement/retired_count",), at_least(60), "replace", "has retired nearly all the memory pages it can", REPLACE),
    Fault(("retired_pages/multiple_single_bit_retirement/retired_count",), at_least(60), "replace",
          "has retired nearly all the memory pages it can", REPLACE),
    *(
        Fault(paths, at_least(1), "reset", "had uncorrectable memory errors since the driver was loaded",
              RESET + "; if they come back, have the board replaced")
        for paths in ((ECC + "dram_uncorrectable",), (ECC + "sram_uncorrectable",), (ECC + "sram_uncorrectable_parity",),
                      (ECC + "sram_uncorrectable_secded",), (ECC + "double_bit/total", ECC + "double_bit/device_memory"),
                      ("mig_devices/mig_device/ecc_error_count/volatile_count/sram_uncorrectable",))
    ),
    Fault(("ecc_errors/aggregate/sram_threshold_exceeded", "ecc_errors/sram_threshold_exceeded"), yes, "replace",
          "had more errors in its SRAM than the maker allows", REPLACE),
    Fault(("ecc_errors/channel_repair_pending",), yes, "reset", "has a memory channel that waits to be repaired", RESET),
    Fault(("ecc_errors/tpc_repair_pending",), yes, "reset", "has a processor cluster that waits to be repaired", RESET),
    Fault(("ecc_errors/unrepairable_memory",), yes, "replace", "has memory that can't be repaired", REPLACE),
    # The NVLink fabric of boards with NVSwitches.
    Fault(("fabric/state",), other_than("Completed"), "drain", "is not part of its NVLink fabric", FABRIC),
    Fault(("fabric/status",), other_than("Success"), "drain", "has failed to join its NVLink fabric", FABRIC),
    Fault(("fabric/health/route_unhealthy",), yes, "drain", "has an unhealthy route in its NVLink fabric",
          "move services that use several GPUs; " + RESET),
    Fault(("fabric/health/access_timeout_recovery",), yes, "drain", "recovers from a timeout in its NVLink fabric",
          "move services that use several GPUs and look again in some minutes; if it stays, " + RESET),
    Fault(("fabric/health/incorrect_configuration",), other_than("False", "No", "Correct"), "drain", "has an NVLink fabric that is configured wrongly",
          FABRIC + ", at the board's firmware and at its place in the rack"),
    Fault(("fabric/health/route_recovery_in_progress", "fabric/health/route_recovery"), yes, "note",
          "recovers a route in its NVLink fabric", "services that use several GPUs are slow until it is over"),
    Fault(("fabric/health/bandwidth",), one_of("Degraded"), "note", "has an NVLink fabric of less than its bandwidth",
          "services that use several GPUs are slow; " + FABRIC),
    # The summary comes after what it sums up.
    Fault((SUMMARY,), one_of("Unhealthy"), "drain", "has an unhealthy NVLink fabric",
          "move services that use several GPUs; " + FABRIC),
    Fault((SUMMARY,), other_than("Healthy", "Unhealthy"), "note", "has an NVLink fabric that is not whole", FABRIC),
    # Settings. They slow or shape what runs; only one keeps it from running.
    Fault(("compute_mode",), one_of("Prohibited"), "set", "lets no program compute", "nvidia-smi -i {index} -c 0"),
    Fault(("persistence_mode",), off, "note", "has persistence mode off",
          "each first start waits for the GPU to be initialised; nvidia-smi -i {index} -pm 1 turns it on until the next boot, "
          "manage_driver: true keeps it on"),
    Fault(("ecc_mode/current_ecc",), off, "note", "has ECC off",
          "errors in its memory go unnoticed; nvidia-smi -i {index} -e 1, then a reboot, turns it on and takes some of the memory on boards without HBM"),
    Fault(("mig_mode/current_mig",), one_of("Enabled"), "note", "has MIG on",
          "a service of tensor_parallel_size 1 may take one slice, by its uuid (nvidia-smi -L); nvidia-smi -i {index} -mig 0 makes it whole again"),
    Fault(("vgpu_software_licensed_product/license_status", "grid_licensed_product/license_status"),
          lambda text: text.lower().startswith("unlicensed"), "note", "is a virtual GPU without a licence",
          "it gets slower in steps; look at nvidia-gridd (journalctl -u nvidia-gridd)"),
    *(
        Fault(tuple(path % reason for path in THROTTLE), yes, "note", meaning, "what runs on it is slow; look at " + where)
        for reason, meaning, where in (
            ("hw_thermal_slowdown", "is slowed by heat", "the fans and the air"),
            ("hw_power_brake_slowdown", "is slowed by its power supply", "the power supplies and the BMC"),
        )
    ),
)  # fmt: skip
# Sentences that may stand in place of any value.
SENTENCES = (
    (r"\[?(GPU is lost|.*fallen off the bus).*", "reboot", "is lost: it does not answer on the bus",
     "dmesg names the Xid; reboot the host, and have the board replaced if it is lost again"),
    (r"\[?(The )?GPU requires a? ?reset.*|\[?Reset required\]?", "reset", "requires a reset", RESET),
)  # fmt: skip


def where(device: dict[str, Any]) -> str:
    """`GPU 3 (00000000:9a:00.0)`: where an operator finds the board."""
    return "GPU %d (%s)" % (device["index"], device["bus_id"] or "no bus id")


def sentence(device: dict[str, Any], meaning: str, told: str, remedy: str) -> str:
    """`GPU 3 (bus id) is so (element: value, uuid); remedy`."""
    said = ", ".join(text for text in (told, device["uuid"]) if text)
    return "%s %s%s; %s" % (
        where(device),
        meaning,
        " (%s)" % said if said else "",
        remedy.format(index=device["index"]),
    )


def findings(node: xml.Element, device: dict[str, Any], others: bool) -> list[tuple[str, str]]:
    """(severity, sentence) of every row that holds for a GPU, the gravest first. `others`: other GPUs of the log tell who they are."""
    found = []
    said = sentences(node)
    for pattern, severity, meaning, remedy in SENTENCES:
        if any(re.fullmatch(pattern, text, re.I) for text in said):
            found.append((severity, sentence(device, meaning, "", remedy)))
    for fault in FAULTS:
        path, texts_there = next(((path, rows) for path in fault.paths if (rows := values(node, path))), ("", []))
        text = next((text for text in texts_there if fault.bad(text)), None)
        if text is None or (path == SUMMARY and any("NVLink fabric (" in row for _, row in found)):
            continue  # the summary of a cause that is named already
        if fault.meaning.endswith(":"):
            found.append((fault.severity, sentence(device, "%s %s" % (fault.meaning, text), "", fault.remedy)))
        else:
            told = "%s: %s" % (path.rpartition("/")[2], text)
            found.append((fault.severity, sentence(device, fault.meaning, told, fault.remedy)))
    lost = any(severity == "reboot" for severity, _ in found)
    if others and not lost and all(device[key] is None for key in ("name", "uuid", "memory_total_bytes")):
        told = "product_name: %s" % (raw(node, "product_name") or "nothing")
        found.append(("reboot", sentence(device, "tells neither its name nor its memory", told, SILENT)))
    elif not lost and device["memory_total_bytes"] is None:
        told = "total: %s" % (raw(node, "fb_memory_usage/total") or "nothing")
        remedy = "boards with unified memory share the host's; what fits is not checked on it"
        found.append(("note", sentence(device, "does not tell its memory", told, remedy)))
    return sorted(found, key=lambda row: -SEVERITIES.index(row[0]))
