"""Speech quality without a reference: many metrics and preferences from one model.

>>> import urgentmos
>>> urgentmos.METRICS["pesq"].high
4.65

``load`` gives an ``Assessor``, the default model unless a name, a folder or a Hub id is given. It
scores arrays and tensors, ``(samples,)`` or ``(batch, samples)``, and compares two of them, which
gives a ``Preference``, the mirror of that in the other order:

>>> import torch
>>> assessor = urgentmos.load()
>>> tone = 0.1 * torch.sin(torch.arange(16000) / 9)
>>> noisy = tone + 0.05 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
>>> scores = assessor.score(torch.stack([tone, noisy]), 16000, metrics=["mos", "dnsmos_bak"])
>>> {metric: tuple(score.shape) for metric, score in scores.items()}
{'mos': (2,), 'dnsmos_bak': (2,)}
>>> bool(scores["dnsmos_bak"][0] > scores["dnsmos_bak"][1])
True
>>> preference = assessor.compare(tone, noisy, 16000)
>>> mirrored = assessor.compare(noisy, tone, 16000)
>>> preference.p_a == mirrored.p_b, preference.cmos == -mirrored.cmos
(True, True)
>>> assessor.compare(noisy, noisy, 16000).verdict
'tie'
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urgentmos.loss_monitor import HeadsPartedWarning as HeadsPartedWarning
    from urgentmos.loss_monitor import LossMonitor as LossMonitor
    from urgentmos.metrics import METRICS as METRICS
    from urgentmos.model.assessor import Assessor as Assessor
    from urgentmos.model.assessor import Preference as Preference
    from urgentmos.model.checkpoint import load_model as load
    from urgentmos.quality_loss import QualityLoss as QualityLoss
    from urgentmos.quality_metric import UrgentMOSMetric as UrgentMOSMetric

__version__ = "0.1.0"

# Without UrgentMOSMetric: a star import gets every name, and that one asks for torchmetrics.
__all__ = [
    "METRICS",
    "Assessor",
    "HeadsPartedWarning",
    "LossMonitor",
    "Preference",
    "QualityLoss",
    "__version__",
    "load",
]

# Torch takes a second or more to import: each name is fetched when it is first used.
_PLACES = {
    "METRICS": ("urgentmos.metrics", "METRICS"),
    "Assessor": ("urgentmos.model.assessor", "Assessor"),
    "HeadsPartedWarning": ("urgentmos.loss_monitor", "HeadsPartedWarning"),
    "LossMonitor": ("urgentmos.loss_monitor", "LossMonitor"),
    "Preference": ("urgentmos.model.assessor", "Preference"),
    "QualityLoss": ("urgentmos.quality_loss", "QualityLoss"),
    "UrgentMOSMetric": ("urgentmos.quality_metric", "UrgentMOSMetric"),
    "load": ("urgentmos.model.checkpoint", "load_model"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value: object = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names; that which needs torchmetrics, where it is installed.

    What goes through them, ``help`` say, takes them all.
    """
    absent = set() if importlib.util.find_spec("torchmetrics") else {"UrgentMOSMetric"}
    return sorted({*__all__, *_PLACES} - absent)
