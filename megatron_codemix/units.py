"""Quantities as people write them: "200B" tokens, "30m", "1.5GiB". Parse and print, exactly."""

import re
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

_COUNT_SUFFIX = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_BYTE_SUFFIX = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
# Rounds nothing silently, and refuses 1e999999 before an integer of a million digits is made.
_EXACT = Context(prec=64, Emin=-64, Emax=30, traps=[Inexact, Overflow, InvalidOperation])
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_count(text: str) -> int:
    """Whole number of things: "4096", "0.5M", "200B" (10^9), "1e6", "40_000". Raises ValueError."""
    return _parse_scaled(text, _COUNT_SUFFIX, "a whole number such as 4096, 0.5M or 200B")


def parse_bytes(text: str) -> int:
    """Number of bytes: "4096", "8MB" (10^6), "1.5GiB" (2^30). Raises ValueError."""
    return _parse_scaled(text, _BYTE_SUFFIX, "a size such as 4096, 8MB or 1.5GiB")


def _parse_scaled(text: str, suffixes: dict[str, int], wanted: str) -> int:
    match = re.fullmatch(r"([+-]?[\d_]*\.?\d+(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match.group(2).upper() not in suffixes:
        raise ValueError(f"expected {wanted}, got {text!r}")
    try:
        number = Decimal(match.group(1).replace("_", ""))
        value = _EXACT.multiply(number, Decimal(suffixes[match.group(2).upper()]))
    except DecimalException as error:
        raise ValueError(f"expected {wanted}, got {text!r}") from error
    if value != value.to_integral_value():
        raise ValueError(f"expected {wanted}, got {text!r}, which is {value}")
    return int(value)


def format_count(number: int) -> str:
    """Shortest form that parses back to the same number: 200000000000 -> "200B", 4096 -> "4096"."""
    forms = [str(number)]
    for suffix in ("T", "B", "M", "K"):
        scaled = _EXACT.divide(Decimal(number), Decimal(_COUNT_SUFFIX[suffix]))
        if abs(scaled) >= 1:
            forms.append(f"{_EXACT.normalize(scaled):f}{suffix}")
    return min(forms, key=len)


def parse_duration(text: str) -> float:
    """Seconds: "90", "30m", "1h30m", "12:30:00" (SLURM's form). Raises ValueError."""
    stripped = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return float(stripped)
    if re.fullmatch(r"\d+:\d\d:\d\d", stripped):
        hours, minutes, seconds = (int(part) for part in stripped.split(":"))
        return float(hours * 3600 + minutes * 60 + seconds)
    if re.fullmatch(r"(\d+(?:\.\d+)?[smhd])+", stripped):
        return sum(
            float(n) * _SECONDS[unit]
            for n, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", stripped)
        )
    raise ValueError(f"expected a duration such as 90, 30m, 1h30m or 12:30:00, got {text!r}")


def format_duration(seconds: float) -> str:
    """For people: 5.2 -> "5.2s", 95 -> "1m35s", 7260 -> "2h01m"."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_bytes(number: float) -> str:
    """For people: 1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
