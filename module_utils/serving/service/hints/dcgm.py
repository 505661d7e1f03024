"""Failure hints: NVIDIA's DCGM (nv-hostengine, dcgmi) and its exporter of metrics."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "dcgm-twice",
        r"Failed to start DCGM Server: -7\b",
        "NVIDIA's DCGM can't listen on its port (5555): its host engine runs already, as the unit nvidia-dcgm or in a container",
        "systemctl status nvidia-dcgm and pgrep -a nv-hostengine show it: use that one, or end it (nv-hostengine -t)",
        "NVIDIA/DCGM#21, #34",
        "Err: Failed to start DCGM Server: -7",
        sure=False,
    ),
    Hint(
        "dcgm-not-there",
        r"Host engine connection invalid/disconnected|Unable to connect to host engine|Failed to start host engine server",
        "NVIDIA's DCGM has no host engine that answers: the unit nvidia-dcgm does not run, it listens elsewhere, or the driver is not loaded",
        "nvidia-smi must work; systemctl enable --now nvidia-dcgm; from a container give the host's address (-r HOST:5555); its log is"
        " /var/log/nv-hostengine.log",
        "NVIDIA/DCGM#57; canonical/hardware-observer-operator#362",
        "Error: Unable to connect to host engine. Host engine connection invalid/disconnected.",
    ),
    Hint(
        "dcgm-profiling",
        r"third-party Profiling module returned an unrecoverable error|DcgmModuleProfiling failed to initialize",
        "DCGM may not read the GPU's profiling counters: a container without SYS_ADMIN, another profiler (Nsight, a second DCGM) that holds them, or"
        " a GPU without them",
        "give the exporter SYS_ADMIN or leave the DCGM_FI_PROF fields out of its list; stop other profilers (dcgmi profile --pause)",
        "NVIDIA/dcgm-exporter#330",
        "Failed to watch metrics: Error watching fields: The third-party Profiling module returned an unrecoverable error",
        sure=False,
    ),
    Hint(
        "dcgm-no-driver",
        r"[Cc]annot initialize the hostengine: Error: Failed to initialize NVML|Cannot init NVML library[^\n]{0,40}ERROR_LIBRARY_NOT_FOUND"
        r"|Cannot load NVML; DCGM|^Error: Failed to initialize NVML$",
        "DCGM finds no NVIDIA driver (NVML) where it runs: its container was not given the GPUs, or the host's driver is not loaded",
        "nvidia-smi must work there: give the container the GPUs (--gpus all, or runtime nvidia as Docker's default), or repair the host's driver",
        "NVIDIA/dcgm-exporter#27, #612; NVIDIA/gpu-monitoring-tools#96",
        "2021-11-23 00:15:20.507 ERROR [7:7] Cannot initialize the hostengine: Error: Failed to initialize NVML [/srv/acme.cpp:1] [Acme::Init]",
    ),
    Hint(
        "dcgm-field-unsupported",
        r"Error (?:watching fields|setting watches)[^\n]{0,40}(?:Feature not supported|[Nn]ot [Ss]upported)",
        "one of the metrics that are asked for is none of this GPU's, and DCGM then refuses all of them",
        "take it out of the list of fields (1006, FP64 pipe, on A10 and L40S; DCP metrics on cards for desktops); dcgmi profile -l shows what there is",
        "NVIDIA/go-dcgm#15",
        "Error setting watches. Result: -6: Feature not supported",
    ),
    Hint(
        "dcgm-nvml-state",
        r"Cannot init NVML library; err: (?!ERROR_LIBRARY_NOT_FOUND)\w",
        "NVIDIA's driver (NVML) does not answer the exporter as it should: its container lost the GPUs (systemctl daemon-reload), or a GPU has failed",
        "nvidia-smi on the host must work and show all GPUs; start the exporter's container anew; see dmesg for Xid lines, then reboot",
        "NVIDIA/go-nvml#164",
        'time=2026-09-09T20:19:25.195Z level=ERROR msg="Cannot init NVML library; err: Unknown Error"',
        sure=False,
    ),
    Hint(
        "dcgm-module-not-loaded",
        r"serviced by a module of DCGM that is not currently loaded",
        "DCGM is asked for what a module of it gives that is not loaded: profiling metrics of a GPU that has none (those of data centres do), or a part"
        " of DCGM is not installed",
        "leave the DCGM_FI_PROF fields out of the exporter's list; dcgmi modules -l shows the modules, /var/log/nv-hostengine.log why one failed",
        "NVIDIA/gpu-monitoring-tools#141",
        'level=fatal msg="Error watching fields: This request is serviced by a module of DCGM that is not currently loaded"',
        sure=False,
    ),
    Hint(
        "dcgm-function",
        r"Error (?:getting supported metrics|watching fields|setting watches)[^\n]{0,40}requested function was not found",
        "exporter, host engine and driver are of times that don't belong together: one asks what the other does not have",
        "use the exporter whose tag begins with the version of the host engine (dcgmi -v, nv-hostengine --version), or let it start its"
        " own; newer driver",
        "NVIDIA/gpu-operator#505",
        'level=fatal msg="Error getting supported metrics: The requested function was not found"',
        sure=False,
    ),
    Hint(
        "dcgm-nscq",
        r"Could not load (?:NSCQ|NVSDM)|libnvidia-nscq[^\n]{0,80}(?:not|cannot|missing)",
        "DCGM can't load NVIDIA's library for NVSwitches (nscq; nvsdm for newer ones): a host without NVSwitches needs none",
        "where the host has NVSwitches install libnvidia-nscq of the driver's exact version; else nothing is wrong here",
        "NVIDIA/gpu-operator#1405",
        "ERROR [1:11] [[NvSwitch]] Could not load NSCQ. dlwrap_attach ret: acme (-79)",
        sure=False,
    ),
)
