"""Numbers as people read them. What is unknown (None) is a dash."""

from __future__ import annotations

import math

UNKNOWN = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def number(value: float | None, digits: int = 3) -> str:
    """A value to so many significant digits.

    >>> number(0.0123456), number(12.0), number(123456.0), number(1.25e-7), number(None)
    ('0.0123', '12', '123,456', '1.25e-7', '–')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 11:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{_bare(mantissa)}e{int(power)}"
    return _bare(f"{value:,.{max(0, digits - 1 - exponent)}f}")


def decimal(value: float | None) -> str:
    """A ratio or a share, with two decimals, so that several line up.

    >>> decimal(0.8)
    '0.80'
    """
    return UNKNOWN if value is None else f"{value:.2f}"


def short(value: float | None) -> str:
    """A large number with a prefix.

    >>> short(950), short(20_000), short(1_250_000), short(3.2e12), short(0.5)
    ('950', '20k', '1.25M', '3.2T', '0.5')
    """
    return UNKNOWN if value is None else "".join(_prefixed(value))


def flop(value: float | None) -> str:
    """An amount of computation, in floating-point operations.

    >>> flop(2.3e7), flop(1.766e13)
    ('23 MFLOP', '17.7 TFLOP')
    """
    return UNKNOWN if value is None else "{} {}FLOP".format(*_prefixed(value))


def count(value: float | None) -> str:
    """A whole number.

    >>> count(1234567)
    '1,234,567'
    """
    return UNKNOWN if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Time in the two units that matter.

    >>> duration(4.21), duration(302), duration(7980), duration(277_200), duration(None)
    ('4.2 s', '5 min 02 s', '2 h 13 min', '3 d 5 h', '–')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def figure(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """A measured value and its interval, with as many decimals as the interval's width supports.

    >>> figure(0.012345, 0.011123, 0.013567)
    ('0.0123', '0.0111 to 0.0136')
    >>> figure(0.5, None, None)
    ('0.5', '')
    """
    if value is None or low is None or high is None or high <= low:
        return number(value), ""
    decimals = min(9, max(0, 1 - math.floor(math.log10((high - low) / 2))))
    return f"{value:.{decimals}f}", f"{low:.{decimals}f} to {high:.{decimals}f}"


def _prefixed(value: float) -> tuple[str, str]:
    """The value in thousands, millions, ..., and the prefix that says which."""
    step = 0
    while abs(value) >= 999.5 and step < len(_PREFIXES) - 1:
        value, step = value / 1000, step + 1
    return number(value), _PREFIXES[step]


def _bare(decimal: str) -> str:
    """Without zeros at the end of its decimals."""
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal
