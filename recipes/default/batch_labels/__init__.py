"""Label many recordings at once, on a GPU: training can label what it has just simulated.

The tools of ``urgentmos label`` are the definition; these give their numbers, to rounding, on
batches of recordings of one length at 16 kHz. There is no value, NaN, where the tools have none,
and nothing that one recording holds changes the label of another.

DNSMOS reads its networks with package ``onnx`` (``pip install onnx``), from package ``speechmos``
or a folder of its ``sig_bak_ovr.onnx`` and ``model_v8.onnx``. Nothing else here needs more than
torch and numpy.

For DNSMOS a recording of 4.51 to 5.49 s is one window, one of 3 s three and one of 4.5 s seven.
They share what they hear alike; where the length is a multiple of 320 samples, so do the copies of
the recording that fill a window.
"""

from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from .dnsmos import BatchDnsmos
from .estoi import estoi
from .lsd import lsd
from .mcd import mcd
from .sdr import sdr
from .waveforms import Batch, Labels

__all__ = ["BatchDnsmos", "BatchLabels"]


class BatchLabels:
    """SDR, LSD, MCD, ESTOI and the four DNSMOS outputs of a batch."""

    def __init__(
        self,
        device: torch.device | str,
        *,
        dnsmos_folder: Path | None = None,
        dnsmos_tf32: bool = False,
    ) -> None:
        """Read the DNSMOS networks.

        Args:
            device: Where the batches are.
            dnsmos_folder: Folder of the networks (default: that of package ``speechmos``).
            dnsmos_tf32: Let the DNSMOS networks round what they multiply to 10 bits.
        """
        self._dnsmos = BatchDnsmos(device, folder=dnsmos_folder, tf32=dnsmos_tf32)

    @torch.no_grad()
    def __call__(
        self, recording: Batch, reference: Batch, has_reference: Bool[Tensor, " batch"]
    ) -> dict[str, Labels]:
        """Label a batch.

        Args:
            recording: Recordings at 16 kHz.
            reference: Their clean references, aligned.
            has_reference: Where ``reference`` is one; elsewhere it may be anything.
        """
        # NaN stands for no reference: it is none of any metric.
        reference = torch.where(has_reference[:, None], reference, torch.nan)
        intrusive = {"sdr": sdr, "lsd": lsd, "mcd": mcd, "estoi": estoi}
        labels = {name: label(recording, reference) for name, label in intrusive.items()}
        return labels | self._dnsmos(recording)
