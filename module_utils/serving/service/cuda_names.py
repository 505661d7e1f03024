"""CUDA's errors by name, in the words that the rows of hints know: drivers, Triton and NVIDIA's libraries give `CUDA_ERROR_ILLEGAL_ADDRESS` or
`cudaErrorIllegalAddress` where torch gives the words.

Source: CUDA's documentation, cuda.h and driver_types.h.
"""

from __future__ import annotations

import re

WORDS = {
    "INVALID_VALUE": "invalid argument",
    "OUT_OF_MEMORY": "out of memory",
    "NOT_INITIALIZED": "initialization error",
    "DEINITIALIZED": "driver shutting down",
    "STUB_LIBRARY": "CUDA driver is a stub library",
    "DEVICE_UNAVAILABLE": "CUDA-capable device(s) is/are busy or unavailable",
    "NO_DEVICE": "no CUDA-capable device is detected",
    "INVALID_DEVICE": "invalid device ordinal",
    "DEVICE_NOT_LICENSED": "device doesn't have valid Grid license",
    "INVALID_IMAGE": "device kernel image is invalid",
    "INVALID_CONTEXT": "invalid device context",
    "NO_BINARY_FOR_GPU": "no kernel image is available for execution on the device",
    "ECC_UNCORRECTABLE": "uncorrectable ECC error encountered",
    "UNSUPPORTED_LIMIT": "limit is not supported on this architecture",
    "PEER_ACCESS_UNSUPPORTED": "peer access is not supported between these two devices",
    "INVALID_PTX": "a PTX JIT compilation failed",
    "NVLINK_UNCORRECTABLE": "uncorrectable NVLink error detected during the execution",
    "JIT_COMPILER_NOT_FOUND": "PTX JIT compiler library not found",
    "UNSUPPORTED_PTX_VERSION": "the provided PTX was compiled with an unsupported toolchain.",
    "SHARED_OBJECT_INIT_FAILED": "shared object initialization failed",
    "OPERATING_SYSTEM": "OS call failed or operation not supported on this OS",
    "INVALID_HANDLE": "invalid resource handle",
    "ILLEGAL_STATE": "the operation cannot be performed in the present state",
    "NOT_FOUND": "named symbol not found",
    "NOT_READY": "device not ready",
    "ILLEGAL_ADDRESS": "an illegal memory access was encountered",
    "LAUNCH_OUT_OF_RESOURCES": "too many resources requested for launch",
    "LAUNCH_TIMEOUT": "the launch timed out and was terminated",
    "PEER_ACCESS_ALREADY_ENABLED": "peer access is already enabled",
    "CONTEXT_IS_DESTROYED": "context is destroyed",
    "ASSERT": "device-side assert triggered",
    "TOO_MANY_PEERS": "peer mapping resources exhausted",
    "HARDWARE_STACK_ERROR": "hardware stack error",
    "ILLEGAL_INSTRUCTION": "an illegal instruction was encountered",
    "MISALIGNED_ADDRESS": "misaligned address",
    "INVALID_ADDRESS_SPACE": "operation not supported on global/shared address space",
    "INVALID_PC": "invalid program counter",
    "LAUNCH_FAILED": "unspecified launch failure",
    "COOPERATIVE_LAUNCH_TOO_LARGE": "too many blocks in cooperative launch",
    "NOT_PERMITTED": "operation not permitted",
    "NOT_SUPPORTED": "operation not supported",
    "SYSTEM_NOT_READY": "system not yet initialized",
    "SYSTEM_DRIVER_MISMATCH": "system has unsupported display driver / cuda driver combination",
    "COMPAT_NOT_SUPPORTED_ON_DEVICE": "forward compatibility was attempted on non supported HW",
    "MPS_CONNECTION_FAILED": "MPS client failed to connect to the MPS control daemon or the MPS server",
    "MPS_RPC_FAILURE": "the remote procedural call between the MPS server and the MPS client failed",
    "MPS_SERVER_NOT_READY": "MPS server is not ready to accept new MPS client requests",
    "MPS_MAX_CLIENTS_REACHED": "the hardware resources required to create MPS client have been exhausted",
    "TIMEOUT": "wait operation timed out",
    "EXTERNAL_DEVICE": "an async error has occured in external entity outside of CUDA",
    "UNKNOWN": "unknown error",
}
# What the runtime calls otherwise than the driver.
OF_THE_RUNTIME = {
    "MEMORY_ALLOCATION": "OUT_OF_MEMORY",
    "INITIALIZATION_ERROR": "NOT_INITIALIZED",
    "CUDART_UNLOADING": "DEINITIALIZED",
    "DEVICES_UNAVAILABLE": "DEVICE_UNAVAILABLE",
    "INVALID_KERNEL_IMAGE": "INVALID_IMAGE",
    "NO_KERNEL_IMAGE_FOR_DEVICE": "NO_BINARY_FOR_GPU",
    "LAUNCH_FAILURE": "LAUNCH_FAILED",
    "SYMBOL_NOT_FOUND": "NOT_FOUND",
    "INVALID_RESOURCE_HANDLE": "INVALID_HANDLE",
    "DEVICE_UNINITIALIZED": "INVALID_CONTEXT",
}
NAME = re.compile(r"\bCUDA_ERROR_([A-Z_]{4,40})\b|\bcudaError([A-Z][A-Za-z]{4,40})\b")


def in_words(text: str) -> str:
    """The text with `CUDA error: ` and its words in place of each name of an error that is known, but for one whose words it gives, too."""
    return NAME.sub(words, text)


def words(name: re.Match[str]) -> str:
    key = name[1] or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[2]).upper()
    found = WORDS.get(OF_THE_RUNTIME.get(key, key))
    return "CUDA error: " + found if found and found not in name.string else name[0]
