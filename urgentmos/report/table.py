"""Plain-text tables."""

from collections.abc import Sequence


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align values under their column names; columns of numbers are aligned on the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    numeric = [
        bool(rows) and all(_is_number(row[column]) for row in rows)
        for column in range(len(columns))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if is_numeric else cell.ljust(width)
            for cell, width, is_numeric in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (columns, *rows)
    ]
    return "\n".join(lines)


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
