"""Numbers as the monitor page writes them: decimal bytes, three digits, and nothing rounded to all or to none."""

_BYTE_UNITS = ("kB", "MB", "GB", "TB", "PB")
_COUNT_UNITS = ("k", "M", "G", "T")
NOTHING = "-"
"""In place of a number that there is not."""


def size(value_bytes: int) -> str:
    """`996 B`, `1.25 kB`, `34.5 MB`."""
    return f"{value_bytes} B" if abs(value_bytes) < 1000 else _scaled(value_bytes, _BYTE_UNITS)


def count(value: int) -> str:
    """`9,999`, `12.3 k`."""
    return f"{value:,}" if abs(value) < 10_000 else _scaled(value, _COUNT_UNITS)


def percent(part: int, whole: int) -> str:
    """A part of a whole; `-` of nothing."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if share in (0, 100):
        return f"{share:.0f} %"
    text = f"{share:.1f}"
    if text == "100.0" and part < whole:
        text = "99.9"
    elif text in ("0.0", "-0.0") and part > 0:
        text = "0.1"
    return f"{text} %"


def saved(saved_bytes: int, stateless_bytes: int) -> str:
    """The saved share; if more was sent than without Landline, the difference in bytes."""
    return size(saved_bytes) if saved_bytes < 0 else percent(saved_bytes, stateless_bytes)


def seconds(value_s: float | None) -> str:
    """`1.3 ms`, `450 ms`, `2.31 s`, `3 min 20 s`."""
    if value_s is None:
        return NOTHING
    if value_s < 0.0095:
        return f"{value_s * 1000:.1f} ms"
    if value_s < 0.9995:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 59.95:
        return f"{value_s:.2f} s" if value_s < 9.995 else f"{value_s:.1f} s"
    return span(value_s)


def span(value_s: float) -> str:
    """A longer time in its two largest units."""
    whole = max(0, int(value_s))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _scaled(value: int, units: tuple[str, ...]) -> str:
    rest = value / 1000
    unit = 0
    while abs(rest) >= 999.5 and unit < len(units) - 1:
        rest /= 1000
        unit += 1
    digits = 2 if abs(rest) < 9.995 else 1 if abs(rest) < 99.95 else 0
    return f"{rest:.{digits}f} {units[unit]}"
