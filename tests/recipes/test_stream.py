"""The stream that a graphics processor trains on: what it draws, damages, pairs and reads."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from urgentmos.simulate.config import SimulationConfig, SourceShares
from urgentmos.simulate.generator import generate

from .conftest import modules_of_recipe

SAMPLES = 32000
SCRIPTS = ("stream", "stream_recordings", "more_damage")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts as they are when one of them runs: they import each other by name."""
    pytest.importorskip("scipy", exc_type=ImportError)
    with modules_of_recipe("default", *SCRIPTS) as modules:
        yield modules


@pytest.fixture(scope="module")
def stream(scripts: dict[str, ModuleType]) -> ModuleType:
    return scripts["stream"]


@pytest.fixture(scope="module")
def stream_recordings(scripts: dict[str, ModuleType]) -> ModuleType:
    return scripts["stream_recordings"]


@pytest.fixture(scope="module")
def more_damage(scripts: dict[str, ModuleType]) -> ModuleType:
    return scripts["more_damage"]


def voices(count: int, samples: int = SAMPLES) -> np.ndarray:
    """Harmonics that come and go, each row at another pitch."""
    seconds = np.arange(samples) / 16000
    pitches = 90 + 25 * np.arange(count)[:, None, None]
    harmonics = np.sin(2 * np.pi * pitches * np.arange(1, 9)[:, None] * seconds).sum(axis=1)
    return np.float32(0.03 * harmonics * (1.2 + np.sin(2 * np.pi * 3 * seconds)))


def arrivals(module: ModuleType, lengths: list[int], **fields: object) -> list:
    made = []
    for row, length in zip(voices(len(lengths), max(lengths)), lengths, strict=True):
        samples = np.int16(row[:length] * 32767)
        known = {"reference": samples, "pesq": 3.0, "pesqc2": 3.5, "keeps_phase": True} | fields
        made.append(module.Arrival(samples, **known))
    return made


def pool(module: ModuleType, lengths: list[int], capacity: int = 50, **fields: object) -> object:
    made = module.Pool(capacity, device=torch.device("cpu"), seed=0)
    made.add(arrivals(module, lengths, **fields))
    return made


def test_every_kind_of_damage_does_something_and_moves_nothing(more_damage: ModuleType) -> None:
    torch.manual_seed(0)
    damage = more_damage.MoreDamage(torch.randn(3, SAMPLES) * 0.1)
    clean = torch.randn(4, SAMPLES) * torch.linspace(0.01, 0.1, SAMPLES)
    for kind in dict.fromkeys(damage._kinds):
        damaged = kind(clean)
        assert damaged.shape == clean.shape
        assert torch.isfinite(damaged).all(), kind
        assert not torch.allclose(damaged, clean), kind
        if kind not in {more_damage.wrong_phase, more_damage.coarse_spectrum}:
            spectrum = torch.fft.rfft(clean).conj() * torch.fft.rfft(damaged)
            assert (torch.fft.irfft(spectrum).abs().argmax(dim=1) == 0).all(), kind


def test_damage_is_never_clipped_and_each_recording_gets_its_own(more_damage: ModuleType) -> None:
    torch.manual_seed(0)
    damage = more_damage.MoreDamage(torch.randn(3, SAMPLES), second_share=0.5)
    clean = torch.from_numpy(voices(1)).expand(40, -1) * 3
    damaged = damage(clean)
    assert damaged.abs().max() <= 0.99 + 1e-6
    assert len(damaged.unique(dim=0)) == 40


def test_silence_stays_finite(more_damage: ModuleType) -> None:
    torch.manual_seed(0)
    damage = more_damage.MoreDamage(torch.randn(3, SAMPLES))
    assert torch.isfinite(damage(torch.zeros(40, SAMPLES))).all()


def test_what_was_not_heard_comes_first_with_its_pesq(stream_recordings: ModuleType) -> None:
    kept = pool(stream_recordings, [64000, 63000, 62000, 40000])
    first = kept.draw(2, samples=61760, as_they_are=True)
    second = kept.draw(1, samples=61760, as_they_are=True)
    assert first.waveform.shape == (2, 61760)
    assert kept.num_unheard == 1
    assert not any(torch.equal(second.waveform[0], row) for row in first.waveform)
    torch.testing.assert_close(first.pesq, torch.full((2,), 3.0))
    torch.testing.assert_close(first.waveform, first.reference)


def test_what_is_damaged_again_has_no_pesq(stream_recordings: ModuleType) -> None:
    drawn = pool(stream_recordings, [64000, 80000]).draw(2, samples=48000, as_they_are=False)
    assert drawn.pesq.isnan().all()
    assert drawn.pesqc2.isnan().all()
    assert drawn.keeps_phase.all()


def test_the_oldest_give_way(stream_recordings: ModuleType) -> None:
    kept = pool(stream_recordings, [64000, 64000], capacity=3)
    kept.add(arrivals(stream_recordings, [48000, 48000], reference=None, pesq=np.nan))
    assert (len(kept), kept.arrived) == (3, 4)
    drawn = kept.draw(3, samples=48000, as_they_are=False)
    assert sorted(drawn.reference.any(dim=1).tolist()) == [False, False, True]


def test_the_stream_has_half_as_they_are(
    stream: ModuleType, stream_recordings: ModuleType, more_damage: ModuleType
) -> None:
    torch.manual_seed(0)
    kept = pool(stream_recordings, [64000] * 8)
    drawn = stream.draw(kept, more_damage.MoreDamage(torch.randn(2, 64000)), size=8, more=0.5)
    as_it_is = torch.isclose(drawn.waveform, drawn.reference, atol=1e-6).all(dim=1)
    assert as_it_is.tolist() == [True] * 4 + [False] * 4
    assert drawn.pesq.isnan().tolist() == [False] * 4 + [True] * 4


def test_pairs_are_of_two_recordings_and_say_which_is_better(stream: ModuleType) -> None:
    torch.manual_seed(0)
    mos = torch.tensor([1.0, 1.4, 3.0, 4.5, torch.nan])
    pairs, cmos, preference = stream.pair_up(mos, delta=0.5)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    for (a, b), gap, better in zip(pairs.tolist(), cmos.tolist(), preference.tolist(), strict=True):
        wanted = mos[a].item() - mos[b].item()
        assert gap == pytest.approx(wanted, nan_ok=True)
        assert better == (0 if not abs(wanted) > 0.5 else np.sign(wanted))


def test_pesq_counts_only_where_the_phase_is_kept(stream: ModuleType) -> None:
    labels = {
        "distill_mos": torch.tensor([4.0, 4.0, 4.0]),
        "dnsmos_p808": torch.tensor([3.5, 3.5, 3.5]),
        "pesq": torch.tensor([1.5, 1.5, torch.nan]),
    }
    kept, changed, unknown = stream.pseudo_mos(
        labels, keeps_phase=torch.tensor([True, False, True])
    ).tolist()
    assert kept < changed == unknown
    assert changed == pytest.approx(0.75543 * 4 + 0.56196 * 3.5 - 1.09958, abs=1e-4)


def test_the_rate_rises_and_falls_to_nothing(stream: ModuleType) -> None:
    rates = [stream.learning_rate(share, highest=2.0) for share in (0.0, 0.01, 0.02, 0.51, 1.0)]
    assert rates == pytest.approx([0.0, 1.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize("with_pesq", [False, True])
def test_a_simulation_is_read_while_it_is_written(
    stream_recordings: ModuleType, tmp_path: Path, with_pesq: bool
) -> None:
    for package in ("pesq", "pesqc2") if with_pesq else ():
        pytest.importorskip(package, exc_type=ImportError)
    for number, voice in enumerate(voices(4, 80000)):
        path = tmp_path / "speech" / f"speaker{number}" / "said.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, voice, 16000)
    follower = stream_recordings.Follower(
        [tmp_path / "made"], processes=2, pesq_share=float(with_pesq)
    )
    try:
        config = SimulationConfig(
            num_recordings=6,
            speech=[str(tmp_path / "speech")],
            shares=SourceShares(clean=1.0, processed=0.0, synthesised=0.0),
            weights={"hard_clipping": 1.0, "griffin_lim": 1.0},
            validation_share=0.0,
        )
        generate(config, tmp_path / "made", progress=False)
        found: list = []
        deadline = time.monotonic() + 60
        while len(found) < 6 and time.monotonic() < deadline:
            found += follower.take(10)
    finally:
        follower.close()
    assert len(found) == 6
    for arrival in found:
        assert len(arrival.waveform) == len(arrival.reference) > 4.5 * 16000
        assert np.isfinite([arrival.pesq, arrival.pesqc2]).all() == with_pesq


def test_a_line_that_is_being_written_is_left_for_later(
    stream_recordings: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"one\ntwo\nthr")
    assert stream_recordings._new_lines(path, 0) == [b"one\n", b"two\n"]
    path.write_bytes(b"one\ntwo\nthree\n")
    assert stream_recordings._new_lines(path, 8) == [b"three\n"]


def test_networks_of_the_recipe_are_among_what_is_read(
    stream_recordings: ModuleType, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", voices(1)[0], 16000)
    meta = {"split": "train", "origin": "clean", "reference_path": "a.wav"}
    kept = {}
    for kind in ("hard_clipping", "griffin_lim", "network_vocoder_mel80"):
        row = {"audio_path": "a.wav", "meta": meta | {"distortions": [{"kind": kind}]}}
        kept[kind] = stream_recordings._arrival(tmp_path, row, {}).keeps_phase
    assert kept == {"hard_clipping": True, "griffin_lim": False, "network_vocoder_mel80": False}
