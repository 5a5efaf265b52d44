"""Rows of a manifest of material: what is there, of whom, and for which side."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from urgentmos.data.manifest import ManifestError, read_lines
from urgentmos.data.manifest_fields import parse_duration, parse_text, wrong_value

Kind = Literal["clean", "reference", "processed", "noise", "rir"]
Split = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")
_FOR_TESTING = "test"
_TEXTS = (
    "speaker", "source", "source_repo", "source_path", "language", "system", "reference",
)  # fmt: skip


@dataclass(frozen=True)
class MaterialRow:
    """What a manifest states of one recording.

    Attributes:
        path: Where it lies, relative to the root; its name.
        kind: What it is.
        split: Side that it is put on, or None to draw one.
        for_testing: Whether it is kept for testing, and so on neither side.
        seconds: Duration, or None to measure it.
        speaker: Who speaks.
        source: Collection it comes from.
        source_repo: Where that was published.
        source_path: Path there.
        language: Code.
        system: What processed it.
        reference: Path of its clean reference.
    """

    path: str
    kind: Kind
    split: Split | None = None
    for_testing: bool = False
    seconds: float | None = None
    speaker: str | None = None
    source: str | None = None
    source_repo: str | None = None
    source_path: str | None = None
    language: str | None = None
    system: str | None = None
    reference: str | None = None


def read_material_rows(manifest: Path) -> tuple[list[MaterialRow], int]:
    """Read a manifest of material.

    Returns:
        Its rows, and how many were left out: those kept for testing, and processed speech that
        states no side, and whose reference is.

    Raises:
        ManifestError: A line has no path or no known kind, or a field that cannot be.
    """
    rows = [_parse_row(row, where=f"{manifest}:{number}") for number, row in read_lines(manifest)]
    for_testing = {row.path for row in rows if row.for_testing}
    kept = [row for row in rows if not _is_left_out(row, for_testing)]
    return kept, len(rows) - len(kept)


def _is_left_out(row: MaterialRow, for_testing: Collection[str]) -> bool:
    # Processed speech is on the side of its reference, unless it states its own.
    follows = row.kind == "processed" and row.split is None
    return row.for_testing or (follows and row.reference in for_testing)


def _parse_row(row: Mapping[str, Any], *, where: str) -> MaterialRow:
    kind, path = row.get("kind"), row.get("path")
    if kind not in get_args(Kind) or not isinstance(path, str) or not Path(path).parts:
        raise ManifestError(
            f"{where}: expected a 'path', and a 'kind' of {', '.join(get_args(Kind))}; "
            f"got {path!r} and {kind!r}"
        )
    split = _text(row.get("split"), "split", where)
    if split not in (None, *SPLITS, _FOR_TESTING):
        expected = f"'train', 'validation', or {_FOR_TESTING!r}, which is left out"
        raise wrong_value("split", expected, split, where=where)
    texts = dict(row)
    seconds, speaker = row.get("seconds"), row.get("speaker")
    # Many corpora number their speakers.
    if isinstance(speaker, int) and not isinstance(speaker, bool):
        texts["speaker"] = str(speaker)
    return MaterialRow(
        path=path,
        kind=cast(Kind, kind),
        split=None if split == _FOR_TESTING else cast(Split | None, split),
        for_testing=split == _FOR_TESTING,
        seconds=None if seconds is None else parse_duration(seconds, "seconds", where),
        **{name: _text(texts.get(name), name, where) for name in _TEXTS},
    )


def _text(value: object, name: str, where: str) -> str | None:
    """Take a string; null and an empty one, as of tables, state nothing."""
    return None if value is None or value == "" else parse_text(value, name, where)
