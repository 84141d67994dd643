"""Quantities as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.units import (
    format_bytes,
    format_count,
    format_duration,
    parse_bytes,
    parse_count,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("4096", 4096),
        ("0.5M", 500_000),
        (".5M", 500_000),
        ("200B", 200 * 10**9),
        ("1.5 T", 15 * 10**11),
        ("1e6", 10**6),
        ("2.5e3K", 2_500_000),
        ("40_000", 40_000),
        ("3k", 3000),
        ("-5", -5),
        ("12345678901234567890123456789", 12345678901234567890123456789),
    ],
)
def test_parse_count(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "many", "0.5", "1.5e0", "1Q", "5 5", "0x10", "1,000", "nan", "inf", "1e999999999", "1e31"],
)
def test_parse_count_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        parse_count(text)


@given(st.integers(-(10**30), 10**30))
def test_counts_survive_printing(number: int) -> None:
    assert parse_count(format_count(number)) == number


@given(st.integers(0, 10**30))
def test_the_short_form_is_never_longer_than_the_digits(number: int) -> None:
    assert len(format_count(number)) <= len(str(number))


@pytest.mark.parametrize(
    ("number", "text"),
    [(4096, "4096"), (200 * 10**9, "200B"), (500_000, "500K"), (1_500_000, "1.5M"), (0, "0")],
)
def test_format_count(number: int, text: str) -> None:
    assert format_count(number) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("4096", 4096), ("8MB", 8_000_000), ("1.5GiB", 3 * 2**29), ("2 kib", 2048), ("7B", 7)],
)
def test_parse_bytes(text: str, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "1.5", "8Mb/s", "GiB", "0.3B"])
def test_parse_bytes_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("0.5", 0.5),
        ("30m", 1800.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("12:30:00", 45000.0),
    ],
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1h30", "12:30", "-5", "1:2:3"])
def test_parse_duration_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.24, "5.2s"), (45.4, "45s"), (59.6, "1m00s"), (95, "1m35s"), (7260, "2h01m")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(12, "12 B"), (1536, "1.5 KiB"), (3 * 2**20, "3.0 MiB"), (2**40, "1.0 TiB")],
)
def test_format_bytes(number: int, text: str) -> None:
    assert format_bytes(number) == text
