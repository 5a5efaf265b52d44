import torch

from urgentmos.model.encoders.complex_spectrum import (
    ComplexSpectrumConfig,
    build_complex_spectrum,
    compress,
)


def test_compression_takes_the_magnitude_to_the_power_of_0_3_and_keeps_the_phase() -> None:
    spectrum = torch.polar(torch.tensor([[[2.0, 0.5]]]), torch.tensor([[[0.3, -2.0]]]))
    real, imaginary = compress(spectrum)[0]
    compressed = torch.complex(real, imaginary)
    torch.testing.assert_close(compressed.abs(), torch.tensor([[2.0**0.3, 0.5**0.3]]))
    torch.testing.assert_close(compressed.angle(), torch.tensor([[0.3, -2.0]]))


def test_the_frame_rate_follows_hop_and_strides() -> None:
    encoder = build_complex_spectrum(ComplexSpectrumConfig(time_strides=[2, 2, 1, 1]))
    assert encoder.frame_rate == 25
    output = encoder(torch.randn(1, 16000), torch.tensor([16000]))
    assert output.lengths.tolist() == [25]
    assert output.hidden_states.shape == (1, encoder.num_layers, 25, encoder.dim)
