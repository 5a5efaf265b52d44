"""List every recording the recipe starts from, split before anything else is made from it.

Reads a folder holding ``clean/ noise/ rir/ processed/`` and, when there is one, its
``manifest.jsonl`` (fields ``path kind speaker reference language system noise_class``); without a
manifest, the kind is the top folder and the speaker the parent folder. Writes one JSON line per
recording with its ``split``; paths stay relative to the folder. Speech whose top end is louder than
its voice is no clean speech, whatever its folder says: it is left out, and is nobody's reference.
"""

import argparse
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from scipy.signal import welch

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.hashing import lot
from urgentmos.simulate.sources import read_mono

Row = dict[str, object]
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
CLEAN = {"clean", "reference"}
VOICE_HZ, TOP_HZ = (300, 3000), (6400, 7400)
"""Of 772 recordings of clean speech the top has a hundredth of the voice's power per hertz in the
middle, and half of it at most; what is left out of the pack of the shipped models has 1 to 10 times
that power."""


def rows(audio: Path) -> Iterator[Row]:
    """Describe every recording of a folder, from its manifest or from its layout."""
    manifest = audio / "manifest.jsonl"
    if manifest.exists():
        with manifest.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines)
        return
    for path in sorted(audio.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            relative = path.relative_to(audio)
            yield {
                "path": str(relative),
                "kind": relative.parts[0],
                "speaker": relative.parent.name,
                "system": relative.parent.name,
            }


def is_too_bright(path: Path) -> bool:
    """Tell whether a recording has more power per hertz at the top than where the voice is."""
    hz, density = welch(read_mono(path), SAMPLE_RATE, nperseg=512)
    voice, top = (density[(hz >= low) & (hz < high)].mean() for low, high in (VOICE_HZ, TOP_HZ))
    return bool(top > voice)


def origin(row: Row, listed: Mapping[str, Row]) -> Row:
    """Find the recording that processed speech comes from: its reference, where it is listed."""
    seen = [row]
    while (reference := listed.get(str(seen[-1].get("reference")))) and reference not in seen:
        seen.append(reference)
    return seen[-1]


def split_group(row: Row, listed: Mapping[str, Row]) -> str:
    """Name what may not stand on both sides of the split.

    A speaker for speech, a class for noise, a room for responses; for processed speech what its
    reference belongs to, or, where that is not listed and no speaker named, the utterance, so that
    the outputs of all systems for it stay together.

    Args:
        row: A recording.
        listed: All of them, by path.
    """
    row = origin(row, listed)
    path = Path(str(row["path"]))
    if row["kind"] == "noise":
        return f"noise:{row.get('noise_class') or path.parent.name}:{path.stem[-1]}"
    if row["kind"] == "rir":
        return f"rir:{path.parent.name}:{path.stem.split('_')[0]}"
    if row.get("speaker"):
        return f"speaker:{row['speaker']}"
    reference = row.get("reference")
    return f"utterance:{Path(str(reference)).stem if reference else path.stem}"


def split_of(group: str, *, validation_share: float) -> str:
    """Draw the side of a group from its name alone, so that it never changes."""
    return "validation" if lot(group) < validation_share else "train"


def describe(
    row: Row, listed: Mapping[str, Row], *, bright: Collection[str], validation_share: float
) -> Row:
    """Say of a recording what the recipe needs to know.

    Args:
        row: The recording.
        listed: All of them, by path.
        bright: Paths of those that are too bright to be anybody's reference.
        validation_share: Share of the groups that is not for training.
    """
    group = split_group(row, listed)
    reference = row.get("reference")
    return {
        "path": row["path"],
        "kind": row["kind"],
        "split": split_of(group, validation_share=validation_share),
        "speaker": row.get("speaker") or origin(row, listed).get("speaker") or group,
        "language": row.get("language"),
        "source": Path(str(row["path"])).parts[1],
        "system": row.get("system"),
        "reference": None if reference in bright else reference,
    }


def draw(lines: list[Row], at_most: int) -> list[Row]:
    """Draw some recordings of each kind and side; what processed speech came from stays."""
    sides: dict[tuple[object, object], list[Row]] = {}
    for line in lines:
        sides.setdefault((line["kind"], line["split"]), []).append(line)
    kept = {
        str(line["path"])
        for (kind, _), members in sides.items()
        for line in sorted(members, key=lambda member: lot(str(member["path"])))[
            : None if kind == "reference" else at_most
        ]
    }
    return [line for line in lines if str(line["path"]) in kept]


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path, help="folder with clean/ noise/ rir/ processed/")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines to write")
    parser.add_argument("--validation-share", type=float, default=0.08)
    parser.add_argument(
        "--at-most", type=int, help="of each kind and side, to try things; references all stay"
    )
    parser.add_argument(
        "--keep-bright",
        action="store_true",
        help="leave nothing out, as when the first two sets of the shipped models were made",
    )
    arguments = parser.parse_args()

    listed = {str(row["path"]): row for row in rows(arguments.audio)}
    bright = {
        path
        for path, row in listed.items()
        if row["kind"] in CLEAN
        and not arguments.keep_bright
        and is_too_bright(arguments.audio / path)
    }
    lines = [
        describe(row, listed, bright=bright, validation_share=arguments.validation_share)
        for path, row in listed.items()
        if path not in bright
    ]
    if arguments.at_most is not None:
        lines = draw(lines, arguments.at_most)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", encoding="utf-8") as output:
        output.writelines(json.dumps(line) + "\n" for line in lines)
    counts = Counter((str(line["kind"]), str(line["split"])) for line in lines)
    for (kind, split), count in sorted(counts.items()):
        print(f"{kind:10} {split:10} {count}")
    for path in sorted(bright):
        print(f"left out, too bright for clean speech: {path}")


if __name__ == "__main__":
    main()
