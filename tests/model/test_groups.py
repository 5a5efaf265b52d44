import torch
from torch import nn

from urgentmos.masks import lengths_to_mask
from urgentmos.model.groups import GroupEncoder


def group_encoder() -> GroupEncoder:
    torch.manual_seed(0)
    return GroupEncoder(8, layers=2, heads=2, feedforward=16, dropout=0.1)


def test_padding_does_not_change_real_frames() -> None:
    encoder = group_encoder().eval()
    features = torch.randn(1, 7, 8)
    padded = torch.cat([features, torch.full((1, 5, 8), 1e3)], dim=1)
    alone = encoder(features, torch.ones(1, 7, dtype=torch.bool))
    together = encoder(padded, lengths_to_mask(torch.tensor([7]), 12))
    torch.testing.assert_close(together[:, :7], alone, atol=1e-5, rtol=1e-5)


def test_frames_have_no_position() -> None:
    encoder = group_encoder().eval()
    features = torch.randn(1, 6, 8)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    mask = torch.ones(1, 6, dtype=torch.bool)
    torch.testing.assert_close(
        encoder(features[:, order], mask), encoder(features, mask)[:, order], atol=1e-5, rtol=1e-5
    )


def test_with_and_without_gradient_agree() -> None:
    encoder = group_encoder().eval()
    features, mask = torch.randn(2, 6, 8), lengths_to_mask(torch.tensor([6, 3]), 6)
    with_gradient = encoder(features, mask)
    with torch.inference_mode():
        without = encoder(features, mask)
    torch.testing.assert_close(with_gradient, without, atol=1e-5, rtol=1e-5)


def test_frames_and_gradient_are_those_of_torch() -> None:
    encoder = group_encoder().eval()
    features = torch.randn(2, 6, 8, requires_grad=True)
    mask = lengths_to_mask(torch.tensor([6, 3]), 6)
    ours = encoder(features, mask)[mask]
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
    reference = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    reference.load_state_dict(encoder.encoder.state_dict())
    theirs = reference(features, src_key_padding_mask=~mask)[mask]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    (our_gradient,) = torch.autograd.grad(ours.square().sum(), features)
    (their_gradient,) = torch.autograd.grad(theirs.square().sum(), features)
    torch.testing.assert_close(our_gradient, their_gradient, atol=1e-4, rtol=1e-4)


def test_weights_are_named_as_in_torch() -> None:
    ours = {name.removeprefix("encoder.") for name in group_encoder().state_dict()}
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    plain = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    assert ours == set(plain.state_dict())
