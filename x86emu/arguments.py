"""Types of command-line options (argparse): each turns an option's text into its value or says what would do."""

from __future__ import annotations

import argparse


def whole_number(text: str) -> int:
    """A number as Python writes it: 1000000, 1_000_000, 0xf4. Raises ArgumentTypeError for other text."""
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; 1000000 or 0xf4 would do") from None


def count(text: str) -> int:
    """A whole number above 0. Raises ArgumentTypeError for other text."""
    value = whole_number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def seconds(text: str) -> float:
    """A number of seconds above 0. Raises ArgumentTypeError for other text."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; 60 or 2.5 would do") from None
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 seconds")
    return value
