"""Prepare the test sets of the VoiceMOS Challenge 2023: three tracks, three listening tests."""

import re
from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.voicemos import read_means

TRACK = re.compile(r"VoiceMOS2023Track([123])-(.+)")
# Track 1 "A-AD_test_0026", track 2 "B01-SF1-CDF1-30001", track 3
# "Noisy_snr5_white_TMHINT_g4_32_03": system, speaker where it is named, content. A system of
# track 2 sings each content once per source and target.
NAMES = {
    "1": re.compile(r"(?P<system>[^_]+)_(?P<content>.+)"),
    "2": re.compile(r"(?P<system>[^-]+)-(?P<variant>[^-]+-(?P<speaker>[^-]+))-(?P<content>.+)"),
    "3": re.compile(r"(?P<system>.+)_TMHINT_(?P<content>(?P<speaker>[a-z]\d+)_.+)"),
}


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read every ``answer*`` list below the folder; audio lies anywhere below it."""
    tables = sorted(path for path in folder.rglob("answer*") if path.is_file())
    if not tables:
        problems.add("unreadable table", f"no list named answer* below {folder}")
    files = {path.stem: path for path in sorted(folder.rglob("*.wav"))}
    for table in tables:
        for stem, rating in read_means(table, problems):
            track = TRACK.fullmatch(stem)
            name = NAMES[track[1]].fullmatch(track[2]) if track else None
            if track is None or name is None:
                problems.add("file name without system and utterance", stem)
                continue
            parts = name.groupdict()
            yield RatedFile(
                files.get(stem, folder / f"{stem}.wav"),
                parts["system"],
                parts["content"],
                rating,
                "test",
                corpus=f"vmc23_track{track[1]}",
                speaker=parts.get("speaker"),
                variant=parts.get("variant", ""),
            )


RECIPE = Recipe(
    "vmc23",
    read,
    expected=(
        Expected("test", 1_460, corpus="vmc23_track1"),
        Expected("test", 4_040, corpus="vmc23_track2"),
        Expected("test", 1_960, corpus="vmc23_track3"),
    ),
)

if __name__ == "__main__":
    run(RECIPE)
