"""What is timed: each is made once and then given files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

Score = Callable[[Sequence[Path]], None]

# torchmetrics refuses longer recordings: 1300 segments, 40 ms apart.
NISQA_MAX_S = 52.0
# Architecture of the NISQA v2.0 release, from config/train_nisqa_cnn_sa_ap.yaml in its repository.
_NISQA_SETTINGS = {
    "ms_fmax": 20000, "ms_n_fft": 4096, "ms_hop_length": 0.01, "ms_win_length": 0.02,
    "ms_n_mels": 48, "ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 1300,
    "cnn_c_out_1": 16, "cnn_c_out_2": 32, "cnn_c_out_3": 64, "cnn_kernel_size": (3, 3),
    "cnn_dropout": 0.2, "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5], "cnn_pool_3": [6, 3],
    "td_sa_d_model": 64, "td_sa_nhead": 1, "td_sa_num_layers": 2, "td_sa_h": 64,
    "td_sa_dropout": 0.1, "pool_att_h": 128, "pool_att_dropout": 0.0,
}  # fmt: skip
_VARIANT = Path(__file__).parents[2] / "configs" / "urgentmos" / "f1c1m5_ref.yaml"


def floor(model: str, workers: int | None) -> Score:
    """Decode and resample, nothing else."""
    from urgentmos.audio import read_audio

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            read_audio(path)

    return score


def all_metrics(
    model: str | None = None, *, precision: str = "float32"
) -> Callable[[str, int | None], Score]:
    """Give the maker that scores all metrics of a model, as ``urgentmos score`` does.

    Args:
        model: Its name; the one that the command was given when None.
        precision: What it computes in.
    """

    def make(given: str, workers: int | None) -> Score:
        import urgentmos
        from urgentmos.model.assessor import Assessor

        assessor: Assessor = urgentmos.load(model or given, precision=precision)
        options = {} if workers is None else {"workers": workers}

        def score(paths: Sequence[Path]) -> None:
            for row in assessor.score_files(paths, **options):
                if row.status != "ok":
                    raise RuntimeError(f"{row.path} was not scored: {row.error}")

        return score

    return make


def wavlm_variant(model: str, workers: int | None) -> Score:
    """Score with the published variant on WavLM, its weights random."""
    from dataclasses import replace

    from urgentmos.config import load_config
    from urgentmos.model.assessor import Assessor, build_assessor
    from urgentmos.model.config import EncoderConfig
    from urgentmos.training.config import RunConfig

    config = load_config(RunConfig, _VARIANT).model
    # WavLM's own defaults are those of the base model.
    base = {"architecture": {"hidden_size": 768}, "pretrained": False, "normalise": False}
    config = replace(config, encoders=[EncoderConfig("wavlm", base)])
    assessor = Assessor(build_assessor(config), config)

    def score(paths: Sequence[Path]) -> None:
        for row in assessor.score_files(paths):
            if row.status != "ok":
                raise RuntimeError(f"{row.path} was not scored: {row.error}")

    return score


def distill_mos(model: str, workers: int | None) -> Score:
    """Run Distill-MOS as its package's documentation does."""
    import distillmos
    import torch

    from urgentmos.audio import read_audio

    network = distillmos.ConvTransformerSQAModel().eval()

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            with torch.no_grad():
                network(torch.from_numpy(read_audio(path).waveform)[None])

    return score


def dnsmos(model: str, workers: int | None) -> Score:
    """Run DNSMOS (P.835 and P.808) with ``speechmos``."""
    from speechmos import dnsmos as speechmos_dnsmos

    from urgentmos.audio import read_audio

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            speechmos_dnsmos.run(np.clip(read_audio(path).waveform, -1, 1), sr=16000)

    return score


def nisqa(model: str, workers: int | None) -> Score:
    """Run NISQA with ``torchmetrics``; without its weights, the same network with random ones."""
    import torch
    from torchmetrics.functional.audio import nisqa as torchmetrics_nisqa

    if not nisqa_has_weights():
        network = torchmetrics_nisqa._NISQADIM(_NISQA_SETTINGS)
        torchmetrics_nisqa._load_nisqa_model = lambda: (network, _NISQA_SETTINGS)

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            samples, sample_rate = soundfile.read(path, dtype="float32")
            torchmetrics_nisqa.non_intrusive_speech_quality_assessment(
                torch.from_numpy(samples), sample_rate
            )

    return score


def labeller(name: str) -> Callable[[str, int | None], Score]:
    """Give the maker that runs a tool of ``urgentmos label``, which fetches its weights once."""

    def make(model: str, workers: int | None) -> Score:
        from urgentmos.audio import read_audio
        from urgentmos.labels.catalogue import LABELLERS

        tool = LABELLERS[name].build("float32")

        def score(paths: Sequence[Path]) -> None:
            for path in paths:
                tool.label(read_audio(path).waveform, None)

        return score

    return make


def nisqa_has_weights() -> bool:
    """Tell whether NISQA's own weights are where ``torchmetrics`` keeps them."""
    return Path("~/.torchmetrics/NISQA/nisqa.tar").expanduser().exists()


PREDICTORS: dict[str, Callable[[str, int | None], Score]] = {
    "floor": floor,
    "urgentmos": all_metrics(),
    "urgentmos_bf16": all_metrics(precision="bfloat16"),
    "accurate": all_metrics("accurate"),
    "accurate_bf16": all_metrics("accurate", precision="bfloat16"),
    "distill_mos": distill_mos,
    "dnsmos": dnsmos,
    "nisqa": nisqa,
    "utmos": labeller("utmos"),
    "scoreq": labeller("scoreq"),
    "wavlm": wavlm_variant,
}
"""Makers by name, given the model to load and the number of decoding threads."""

OURS = ("urgentmos", "urgentmos_bf16", "accurate", "accurate_bf16")
