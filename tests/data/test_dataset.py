from itertools import islice

import numpy as np
import soundfile

from urgentmos.data.dataset import BatchDataset
from urgentmos.data.recording import Recording
from urgentmos.data.sampler import BatchSampler, Window
from urgentmos.data.waveforms import DecodedWaveforms


def test_what_is_planned_inverted_is_heard_so_and_the_rest_as_it_is(tmp_path, speech):
    recordings = []
    for number in range(40):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, speech(seconds=0.1, seed=number), 16000)
        recordings.append(Recording(path, str(number), "s", "r", 0.1))
    waveforms = DecodedWaveforms(recordings)
    sampler = BatchSampler(
        waveforms.lengths, [r.uid for r in recordings],
        batch_samples=64000, window=Window(max_samples=1600), seed=0, inverted_share=0.5,
    )  # fmt: skip
    (plan,) = islice(sampler.plans(), 1)
    batch = BatchDataset(waveforms, np.zeros((40, 1), dtype=np.float32))[plan]
    assert 5 < plan.inverted.sum() < 35
    for position, inverted, waveform in zip(
        plan.recordings.tolist(), plan.inverted, batch.waveform.numpy(), strict=True
    ):
        stored = waveforms.read(position)
        assert np.array_equal(waveform, -stored if inverted else stored)
