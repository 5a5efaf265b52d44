"""What is to be read: paths, lists of them, and manifests that name recordings."""

import codecs
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer

_MANIFEST = ".jsonl"
_ID3 = (b"ID3\x02", b"ID3\x03", b"ID3\x04")
_MPEG_SYNC = b"\xff\xe0"


def gather_paths(
    paths: Sequence[Path], files_from: Path | None, *, outputs: Sequence[Path | None] = ()
) -> list[Path]:
    """Put together what a command was given to read.

    Args:
        paths: Files, folders and manifests.
        files_from: A list of such paths, one per line or ended by NUL; ``-`` for stdin.
        outputs: What it will write.

    Returns:
        Files and folders; the recordings that a manifest names stand in its place.

    Raises:
        BadParameter: Nothing is given, the list is empty, in UTF-16 or JSON, or a recording, a
            manifest names no recording, or an output is among what is read.
        ManifestError: A manifest is broken.
    """
    given = [*paths, *(_listed(files_from) if files_from is not None else ())]
    if not given and files_from is not None:
        raise typer.BadParameter(f"--files-from: {str(files_from)!r} lists no path")
    if not given:
        raise typer.BadParameter("expected files or folders, or --files-from with a list of them")
    check_not_read([*given, files_from], outputs)
    return list(_without_manifests(given))


def _listed(files_from: Path) -> list[Path]:
    if files_from.suffix.lower() == _MANIFEST:
        return [files_from]
    content = sys.stdin.buffer.read() if str(files_from) == "-" else files_from.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # Its bytes would be taken for names of single characters, and a lone "/" for a folder.
        raise typer.BadParameter(
            f"--files-from: {str(files_from)!r} is UTF-16, as older PowerShells write it: "
            "save it as UTF-8"
        )
    if _is_binary(content):
        raise typer.BadParameter(
            f"--files-from: {str(files_from)!r} is no list of paths but a recording or other "
            "binary data; give recordings as paths, without --files-from"
        )
    # Editors put a byte order mark in front.
    content = content.removeprefix(codecs.BOM_UTF8)
    # `find -print0` ends names with NUL, since they may hold line breaks.
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    names = [name for name in (content.split(b"\0") if b"\0" in content else lines) if name]
    if names and _is_json(names[0]):
        raise typer.BadParameter(
            "--files-from: expected a path on each line, got JSON; "
            f"a manifest is a file that ends in {_MANIFEST}"
        )
    return [Path(os.fsdecode(name)) for name in names]


def _is_binary(content: bytes) -> bool:
    """Whether this is plainly no list: of its bytes, a lone "/" would be a folder to search."""
    # `find -print0` writes no empty name; headers of audio and pauses in it are full of them.
    if content.startswith(b"\0") or b"\0\0" in content:
        return True
    # MP3 may hold no two in a row. It begins with a tag and its version, or with a frame: eleven
    # bits that are set, as in no UTF-8.
    return content.startswith(_ID3) or content[:2] >= _MPEG_SYNC


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _without_manifests(paths: Iterable[Path]) -> Iterator[Path]:
    """Put the recordings that a manifest names in its place."""
    from urgentmos.data.manifest import read_audio_paths

    for path in paths:
        # One that is not there gets its row, as any file.
        if path.suffix.lower() != _MANIFEST or not os.path.isfile(path):
            yield path
            continue
        recordings = list(read_audio_paths(path))
        if not recordings:
            raise typer.BadParameter(f"the manifest {str(path)!r} names no recording")
        yield from recordings


def check_not_read(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Refuse an output that is also an input, and that writing would destroy.

    Raises:
        BadParameter: One is.
    """
    # Not path.resolve(), which raises where links go in circles.
    written = {os.path.realpath(path): path for path in outputs if path is not None}
    # It asks for every link of every path: seconds for a list of 100,000.
    for path in inputs if written else ():
        output = None if path is None else written.get(os.path.realpath(path))
        if output is not None:
            raise typer.BadParameter(f"{str(output)!r} is what is to be read; name another output")
