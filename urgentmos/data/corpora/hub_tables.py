"""Datasets of the Hugging Face Hub from their local Parquet files, audio written out as files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos.data.corpora.recipe import Problems
from urgentmos.extras import require

_AUDIO_SUFFIXES = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg"}


def read_parquet(
    folder: Path, split: str, problems: Problems, *, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Read the rows of one split, file by file, in memory that does not grow with the split.

    Args:
        folder: A dataset as downloaded; Parquet files anywhere below whose names start with the
            split, as ``data/train-00000-of-00012.parquet``.
        split: Which split.
        problems: Where missing files, unreadable files and missing columns are noted.
        columns: Columns wanted.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    parquet = require("pyarrow.parquet", extra="parquet")
    arrow = require("pyarrow", extra="parquet")
    paths = sorted(folder.rglob(f"{split}-*.parquet")) or sorted(folder.rglob(f"{split}.parquet"))
    if not paths:
        problems.add("unreadable table", f"no {split}-*.parquet below {folder}")
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                missing = [name for name in columns if name not in file.schema_arrow.names]
                if missing:
                    problems.add("unreadable table", f"{path}: no column {missing[0]!r}")
                    continue
                for batch in file.iter_batches(batch_size=64, columns=list(columns)):
                    yield from batch.to_pylist()
        except (OSError, arrow.ArrowException) as error:
            problems.add("unreadable table", f"{path}: {error}")


def write_audio(
    audio: Mapping[str, Any] | None, folder: Path, *names: str, problems: Problems
) -> Path | None:
    """Write the audio of one cell as a file, unless it is there already.

    Args:
        audio: ``{"bytes": ..., "path": ...}``.
        folder: Where to.
        names: Folders in it, and the name of the file without suffix: that follows the content.
        problems: Where a cell without audio is noted, and names that would lead elsewhere.
    """
    if any(Path(name).name != name or name in ("", "..") for name in names):
        problems.add("unusable name", names)
        return None
    path = folder.joinpath(*names)
    content = (audio or {}).get("bytes")
    if not content:
        problems.add("missing file", f"no audio inside the table for {path.name}")
        return None
    target = path.with_name(path.name + _AUDIO_SUFFIXES.get(content[:4], ".wav"))
    if not target.exists() or target.stat().st_size != len(content):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return target
