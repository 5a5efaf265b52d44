"""Every label that can be asked for, and the tool that gives it."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from urgentmos.labels.distill_mos import DistillMos
from urgentmos.labels.dnsmos import Dnsmos, DnsmosP808
from urgentmos.labels.estoi import Estoi
from urgentmos.labels.hub_model import INSTALL_TRANSFORMERS
from urgentmos.labels.labeller import INSTALL, Labeller
from urgentmos.labels.lsd import Lsd
from urgentmos.labels.mcd import Mcd
from urgentmos.labels.nisqa import Nisqa
from urgentmos.labels.pesq import INSTALL_PESQC2, Pesq
from urgentmos.labels.phoneme_similarity import PhonemeSimilarity
from urgentmos.labels.scoreq import Scoreq
from urgentmos.labels.sdr import Sdr
from urgentmos.labels.speaker_similarity import SpeakerSimilarity
from urgentmos.labels.speech_bert_score import SpeechBertScore
from urgentmos.labels.utmos import Utmos
from urgentmos.metrics import METRICS
from urgentmos.precision import Precision


class UnknownLabelError(ValueError):
    """A label that no tool here gives."""


@dataclass(frozen=True)
class LabelTool:
    """One tool and what it takes to run it.

    Attributes:
        build: Makes the tool in a precision; only Distill-MOS has a choice.
        metrics: Labels it gives.
        modules: What has to be importable.
        install: Command that brings that; empty where nothing is needed.
        downloads: Whether it fetches a network at its first use.
        aligned: Whether it compares recording and reference moment by moment, and not each as a
            whole; without a reference it does not matter.
    """

    build: Callable[[Precision], Labeller]
    metrics: tuple[str, ...]
    modules: tuple[str, ...] = ()
    install: str = INSTALL
    downloads: bool = False
    aligned: bool = True

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with a clean reference."""
        return any(METRICS[metric].needs_reference for metric in self.metrics)

    @property
    def installed(self) -> bool:
        """Whether its packages are there; networks that are fetched are not looked for."""
        return all(find_spec(module) is not None for module in self.modules)


LABELLERS: dict[str, LabelTool] = {
    "pesq": LabelTool(lambda _: Pesq(), ("pesq",), ("pesq",)),
    "pesqc2": LabelTool(lambda _: Pesq(package="pesqc2"), ("pesqc2",), ("pesqc2",), INSTALL_PESQC2),
    "estoi": LabelTool(lambda _: Estoi(), Estoi.metrics, ("pystoi",)),
    "sdr": LabelTool(lambda _: Sdr(), Sdr.metrics, ("fast_bss_eval",)),
    "lsd": LabelTool(lambda _: Lsd(), Lsd.metrics, install=""),
    "mcd": LabelTool(lambda _: Mcd(), Mcd.metrics, install=""),
    "spksim": LabelTool(
        lambda _: SpeakerSimilarity(), SpeakerSimilarity.metrics, ("resemblyzer",), aligned=False
    ),
    "dnsmos_p808": LabelTool(
        lambda _: DnsmosP808(), DnsmosP808.metrics, ("speechmos", "onnxruntime", "librosa")
    ),
    "dnsmos": LabelTool(
        lambda _: Dnsmos(), Dnsmos.metrics, ("speechmos", "onnxruntime", "librosa")
    ),
    "distill_mos": LabelTool(
        lambda precision: DistillMos(precision=precision),
        DistillMos.metrics,
        ("distillmos",),
    ),
    "utmos": LabelTool(lambda _: Utmos(), Utmos.metrics, ("torchaudio",), downloads=True),
    "scoreq": LabelTool(lambda _: Scoreq(), Scoreq.metrics, ("scoreq",), downloads=True),
    "nisqa_mos": LabelTool(
        lambda _: Nisqa(),
        Nisqa.metrics,
        ("torchmetrics", "librosa", "requests"),
        downloads=True,
    ),
    "sbert": LabelTool(
        lambda _: SpeechBertScore(),
        SpeechBertScore.metrics,
        ("transformers",),
        INSTALL_TRANSFORMERS,
        downloads=True,
        aligned=False,
    ),
    "lps": LabelTool(
        lambda _: PhonemeSimilarity(),
        PhonemeSimilarity.metrics,
        ("transformers", "huggingface_hub"),
        INSTALL_TRANSFORMERS,
        downloads=True,
        aligned=False,
    ),
}
"""Tools by the name that asks for them: that of their label, or ``dnsmos`` for all of DNSMOS."""


def resolve_labels(names: Iterable[str]) -> list[str]:
    """Turn label names, and names of metrics such as ``dnsmos_ovrl``, into names of tools.

    Raises:
        UnknownLabelError: No tool gives one of them; the message names the nearest.
    """
    tool_by_metric = {metric: name for name, tool in LABELLERS.items() for metric in tool.metrics}
    resolved: dict[str, None] = {}
    for name in names:
        tool = name if name in LABELLERS else tool_by_metric.get(name)
        if tool is None:
            nearest = difflib.get_close_matches(name, LABELLERS, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(LABELLERS)}"
            raise UnknownLabelError(f"unknown label {name!r}; {hint}")
        resolved[tool] = None
    return list(resolved)
