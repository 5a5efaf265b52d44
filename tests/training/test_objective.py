"""Which pairs the preference head is shown, and in which order."""

import pytest
import torch
from torch import Tensor, nn

from urgentmos.data.dataset import Batch
from urgentmos.data.sampler import Progress
from urgentmos.model.heads import PreferenceOutput
from urgentmos.model.network import AssessorNetwork, NetworkOutput
from urgentmos.training.config import ObjectivesConfig
from urgentmos.training.objective import Objective


class _OrderedNetwork(AssessorNetwork):
    """Gives A twice its due: comparing (A, B) is not the mirror of (B, A)."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.metrics = ["mos"]
        self.compared: list[tuple[float, float]] = []

    def forward(self, waveform: Tensor, *_: object, **__: object) -> NetworkOutput:
        frames, mask = waveform[..., None], torch.ones(waveform.shape, dtype=torch.bool)
        return NetworkOutput({"mos": waveform[:, 0]}, frames, frames, mask)

    def compare_frames(self, a: Tensor, _: Tensor, b: Tensor, __: Tensor) -> PreferenceOutput:
        first, second = a[:, 0, 0], b[:, 0, 0]
        self.compared += zip(first.tolist(), second.tolist(), strict=True)
        return PreferenceOutput(2 * first - second, torch.zeros(len(first), 3))


def _batch(pairs: list[list[int]], cmos: list[float]) -> Batch:
    targets = torch.tensor(cmos)
    return Batch(
        waveform=torch.tensor([[1.0], [2.0], [4.0]]), lengths=torch.ones(3, dtype=torch.int64),
        labels=torch.full((3, 1), torch.nan), pairs=torch.tensor(pairs), cmos=targets,
        preference=targets.sign().long(), label_counts=torch.zeros(1),
        pair_count=torch.tensor(float(len(pairs))), decided_count=torch.tensor(float(len(pairs))),
        after=Progress(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "shown", "squared_errors"),
    [
        # CMOS of (2, 1) is 3 and of (1, 2) is 0, their targets 1 and -1.
        ({}, [(2, 1), (1, 4), (1, 2), (4, 1)], [4.0, 1.0, 1.0, 16.0]),
        ({"mirrored_pairs": False}, [(2, 1), (1, 4)], [4.0, 1.0]),
    ],
    ids=["mirrored by default", "in the order given"],
)
def test_pairs_are_shown_in_both_orders_unless_told_otherwise(
    given: dict[str, bool], shown: list[tuple[float, float]], squared_errors: list[float]
) -> None:
    network = _OrderedNetwork()
    objective = Objective(network, ObjectivesConfig(absolute=0.0, preference=1.0, **given))
    total, terms = objective(_batch([[1, 0], [0, 2]], cmos=[1.0, -3.0]))
    assert sorted(network.compared) == sorted(shown)
    # Equal logits: every cross-entropy is log 3.
    expected = 0.5 * torch.tensor(squared_errors).mean() + 0.5 * torch.tensor(3.0).log()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(terms["preference"], expected)
