"""Numbers as fp16 and back: bit patterns by tables, with counts of what was rounded, too large or too small."""

from __future__ import annotations

from typing import Any

import numpy as np

CHUNK = 1 << 20  # bytes at a time: what two threads need of it stays in the cache
MAX_F16 = 65504.0
LARGEST = 0x7BFF  # fp16 code of MAX_F16; no exact conversion gives it, since bf16 has too few digits for it
NUMPY = {"F64": "<f8", "F32": "<f4"}  # types beside bf16 that may become fp16, as numpy calls them


def table_of_codes() -> Any:
    """fp16 code of each of the 65,536 bf16 codes, equal to torch's `.to(float16)`, NaN payloads included."""
    codes = np.arange(65536, dtype=np.uint32)
    with np.errstate(over="ignore"):
        table = (codes << 16).view(np.float32).astype(np.float16).view(np.uint16)
    table[(codes & 0x7FFF) > 0x7F80] |= 0x200  # a NaN stays a quiet one
    return table


TABLE = table_of_codes()


class Counts:
    """What happened to the values of one tensor; `largest` is the largest finite magnitude that overflowed, `lost` that became 0."""

    def __init__(self) -> None:
        self.values = self.overflowed = self.subnormal = self.zeroed = self.nan = self.inf = 0
        self.largest = self.lost = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "lost"}

    def add_odd(self, codes: Any) -> None:
        """Count bf16 codes (uint16, shape (n,)) that did not convert exactly by a shift."""
        size = codes & np.uint16(0x7FFF)
        over = (size >= 0x4780) & (size < 0x7F80)
        small = (size > 0) & (size < 0x3880)
        zeroed = small & ((TABLE[codes] & np.uint16(0x7FFF)) == 0)
        self.overflowed += int(over.sum())
        self.inf += int((size == 0x7F80).sum())
        self.nan += int((size > 0x7F80).sum())
        self.zeroed += int(zeroed.sum())
        self.subnormal += int(small.sum()) - int(zeroed.sum())
        if over.any():
            self.largest = max(self.largest, value_of(int(size[over].max())))
        if zeroed.any():
            self.lost = max(self.lost, value_of(int(size[zeroed].max())))


def value_of(code: int) -> float:
    """The value of one bf16 code."""
    return float(np.array([code << 16], dtype=np.uint32).view(np.float32)[0])


class Kernel:
    """Scratch for one thread; converts up to CHUNK bytes at a time."""

    def __init__(self) -> None:
        self.a = np.empty(CHUNK // 2, np.uint16)
        self.b = np.empty(CHUNK // 2, np.uint16)
        self.m = np.empty(CHUNK // 2, np.bool_)

    def to_f16(self, codes: Any, out: Any, saturate: bool) -> Any:
        """bf16 codes -> fp16 codes in `out`, both uint16 of shape (n,). Returns the odd ones' source codes, in order."""
        n = codes.size
        a, b, m = self.a[:n], self.b[:n], self.m[:n]
        # Without its sign, a code from 0x3880 (2**-14) up to below 0x4780 (65536) is exact.
        np.add(codes, codes, out=a)
        np.subtract(a, 0x7100, out=a)
        np.greater_equal(a, 0x1E00, out=m)
        # Re-bias the exponent by 112 and move 7 digits to the place of 10. Products that overflow lose the sign alone.
        np.multiply(codes, 8, out=b)
        np.add(b, 0x4000, out=b)
        np.bitwise_and(codes, 0x8000, out=a)
        np.bitwise_or(a, b, out=out)
        odd = np.flatnonzero(m)
        if not odd.size:
            return codes[:0]
        kept = codes[odd]
        out[odd] = TABLE[kept]
        if saturate:
            size = kept & np.uint16(0x7FFF)
            over = (size >= 0x4780) & (size < 0x7F80)
            out[odd[over]] = (kept[over] & np.uint16(0x8000)) | np.uint16(LARGEST)
        return kept

    def to_bf16(self, halves: Any, out: Any, residue: Any) -> None:
        """fp16 codes that `to_f16` made -> their bf16 codes in `out`; `residue` is what it returned for them."""
        n = halves.size
        a, b, m = self.a[:n], self.b[:n], self.m[:n]
        np.bitwise_and(halves, 0x7FFF, out=a)
        # Odd are subnormals and zero, infinity and NaN (exponent 0 and 31), and the saturated.
        np.subtract(a, 0x400, out=b)
        np.greater_equal(b, LARGEST - 0x400, out=m)
        np.right_shift(a, 3, out=b)
        np.add(b, 0x3800, out=b)
        np.bitwise_and(halves, 0x8000, out=a)
        np.bitwise_or(a, b, out=out)
        odd = np.flatnonzero(m)
        if odd.size != residue.size:
            raise ValueError("%d codes kept for %d odd values" % (residue.size, odd.size))
        out[odd] = residue


def to_f16_from(data: bytes, dtype: str, counts: Counts, saturate: bool) -> bytes:
    """Little-endian values of a type of NUMPY -> fp16, rounded to nearest even."""
    values = np.frombuffer(data, NUMPY[dtype])
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    size = np.abs(values.astype(np.float64))
    over = np.isfinite(size) & np.isinf(half)
    small = (size > 0) & (size < 2.0**-14)
    counts.overflowed += int(over.sum())
    counts.inf += int(np.isinf(size).sum())
    counts.nan += int(np.isnan(size).sum())
    zeroed = small & (half == 0)
    counts.zeroed += int(zeroed.sum())
    counts.subnormal += int((small & (half != 0)).sum())
    if zeroed.any():
        counts.lost = max(counts.lost, float(size[zeroed].max()))
    if over.any():
        counts.largest = max(counts.largest, float(size[over].max()))
    if saturate:
        half = np.where(over, np.copysign(np.float16(MAX_F16), half), half)
    return half.astype("<f2").tobytes()
