"""Counts in messages."""

__all__ = ["counted"]


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """``"1 row"``, ``"2,000 rows"``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
