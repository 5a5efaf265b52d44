import pytest
import torch
from torch import Tensor, nn

from urgentmos.model.strict_weights import WeightsError, fill_strictly
from urgentmos.model.unfilled import Unfilled


def fill(module: nn.Module, **changes: Tensor | None) -> None:
    given = {"0.weight": torch.ones(2, 3), "0.bias": torch.ones(2), "1.weight": torch.ones(2)}
    tensors = {name: tensor for name, tensor in (given | changes).items() if tensor is not None}
    fill_strictly(module, tensors.items(), where="file.bin", target="Pair")


def pair() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.RMSNorm(2))


def test_every_weight_becomes_that_of_the_file_in_the_type_of_the_module() -> None:
    module = pair()
    fill(module, **{"0.bias": torch.tensor([0.5, 3.0], dtype=torch.bfloat16)})
    assert module[0].bias.tolist() == [0.5, 3.0]
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert torch.equal(module[0].weight, torch.ones(2, 3))
    assert module[0].weight.requires_grad


def test_weights_made_without_memory_come_into_it() -> None:
    with Unfilled([torch.ones(10)]):
        module = pair()
    fill(module, **{"0.bias": torch.tensor([0.5, 3.0], dtype=torch.bfloat16)})
    assert module(torch.zeros(1, 3)).shape == (1, 2)
    assert module[0].bias.tolist() == [0.5, 3.0]
    assert all(each.requires_grad and not each.is_meta for each in module.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"2.bias": torch.ones(1)}, r"^file\.bin: 2\.bias has no place in Pair$"),
        ({"0.weight": torch.ones(3, 2)}, r"0\.weight has shape \(3, 2\), .* asks for \(2, 3\)"),
        # No broadcasting of what would fit.
        ({"0.bias": torch.ones(1)}, r"0\.bias has shape \(1,\), .* asks for \(2,\)"),
        (
            {"0.bias": torch.full((2,), 1e300, dtype=torch.float64)},
            r"0\.bias has values that are not finite in torch\.float32$",
        ),
        ({"0.bias": None}, r"^file\.bin lacks 1 of 3 weights of Pair, .* random: 0\.bias$"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    changes: dict[str, Tensor | None], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        fill(pair(), **changes)
