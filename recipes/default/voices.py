"""Make more voices of the speech at hand: each recording faster or slower, by another microphone.

A recording played at another rate has another pitch, other formants and another tempo: another
speaker, without the traces of a vocoder. What learns from recordings alone (``distill.py``) needs
many speakers and no labels. Reads lists of ``prepare.py``, and writes recordings and a list like
those, in which every voice is on the side of the recording that it was made of.

``python recipes/default/voices.py SOURCES [...] --audio AUDIO [...] --output FOLDER``
"""

import argparse
import functools
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from recording_conditions import in_other_conditions
from scipy.signal import firwin2, oaconvolve, resample_poly
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.ndarray import NDArray
from urgentmos.simulate.levels import SILENCE, with_level_of
from urgentmos.simulate.sources import read_mono

RATES = (0.88, 1.3)  # below, little is left of the band up to 8 kHz
FINEST = 100  # largest denominator of a rate
MICROPHONE_DB = 4.0  # spread of its response, octave by octave
MICROPHONE_TAPS = 257
LONGEST_S = 12.0
SPEECH = {"clean", "processed", "reference"}
LIST = "sources.jsonl"


def play_at(speech: NDArray[Any], rate: float) -> NDArray[Any]:
    """Play a recording faster (above 1) or slower, at the same sample rate."""
    ratio = Fraction(rate).limit_denominator(FINEST)
    return np.asarray(resample_poly(speech, ratio.denominator, ratio.numerator))


def through_microphone(speech: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Filter with a smooth random response, in linear phase and without delay."""
    nyquist = SAMPLE_RATE / 2
    octaves = nyquist / 2.0 ** np.arange(7)[::-1]
    gains = 10 ** (rng.normal(0, MICROPHONE_DB, len(octaves)) / 20)
    response = firwin2(MICROPHONE_TAPS, [0.0, *octaves], [gains[0], *gains], fs=SAMPLE_RATE)
    return np.asarray(oaconvolve(speech, response, mode="same"))


def rows(sources: Path, audio: Path) -> list[dict[str, Any]]:
    """Read a list, with the place of every recording."""
    with sources.open(encoding="utf-8") as lines:
        listed = [json.loads(line) for line in lines]
    return [row | {"path": str((audio / row["path"]).absolute())} for row in listed]


def make_voice(
    row: dict[str, Any], number: int, copy: int, *, output: Path, conditions: bool
) -> dict[str, Any]:
    """Write one voice of the recording of that number, and describe it."""
    source = Path(row["path"])
    digest = hashlib.sha256(f"{number} {copy}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    rate = float(np.exp(rng.uniform(*np.log(RATES))))
    speech = read_mono(source)[: round(LONGEST_S * rate * SAMPLE_RATE)]
    voice = through_microphone(play_at(speech, rate), rng)
    if conditions:
        voice = in_other_conditions(voice, rng)
    # As loud as it was, but never clipped.
    voice = with_level_of(voice, speech)
    voice = voice * min(1.0, 0.99 / max(np.abs(voice).max(), SILENCE))
    path = Path(row["source"], f"{source.stem}_{number}_{copy}.flac")
    (output / path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(output / path, voice, SAMPLE_RATE)
    return row | {
        "path": str(path),
        # Nothing is aligned with it any more, so that it has no reference and is none.
        "kind": "processed" if row["kind"] == "processed" else "clean",
        "reference": None,
        "speaker": f"{row['speaker']}@{rate:.2f}",
    }


def main() -> None:
    """Make the voices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+", help="lists written by prepare.py")
    parser.add_argument(
        "--audio", type=Path, nargs="+", required=True, help="folders the lists are about"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the voices")
    parser.add_argument("--copies", type=int, default=3, help="voices of each recording")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    parser.add_argument(
        "--conditions", action="store_true", help="recorded, cleaned and stored in other ways too"
    )
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    listed = [
        row
        for sources, audio in zip(arguments.sources, arguments.audio, strict=True)
        for row in rows(sources, audio)
    ]
    speech = enumerate(row for row in listed if row["kind"] in SPEECH)
    copies = range(arguments.first, arguments.first + arguments.copies)
    jobs = [(row, number, copy) for number, row in speech for copy in copies]
    make = functools.partial(make_voice, output=arguments.output, conditions=arguments.conditions)
    with ProcessPoolExecutor(arguments.workers) as pool:
        voices = list(tqdm(pool.map(make, *zip(*jobs, strict=True), chunksize=16), total=len(jobs)))
    # Noise and rooms stay where they are, for what is simulated with these voices.
    others = [row for row in listed if row["kind"] not in SPEECH]
    with (arguments.output / LIST).open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in voices + others)
    print(f"{len(voices)} voices in {arguments.output / LIST}")


if __name__ == "__main__":
    main()
