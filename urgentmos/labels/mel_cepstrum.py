"""Mel-cepstral analysis of many frames at once (Fukada et al. 1992, unbiased log spectrum)."""

import numpy as np
from jaxtyping import Float64

from urgentmos.ndarray import NDArray

_UNCHECKED_ITERATIONS = 2
_MAX_ITERATIONS = 30
_CONVERGED = 1e-3

Frames = Float64[NDArray[np.float64], "frames samples"]
Cepstra = Float64[NDArray[np.float64], "frames coefficients"]


def mel_cepstrum(frames: Frames, *, order: int, alpha: float, floor: float) -> Cepstra:
    r"""Fit mel-cepstra to windowed frames, as SPTK's ``mcep`` does.

    The model is :math:`|H(\omega)| = \exp \sum_m c_m \cos(m \tilde\omega)` on the warped axis
    :math:`\tilde\omega`. It minimises the mean over :math:`\omega` of
    :math:`I / |H|^2 + \log |H|^2` for the periodogram :math:`I`, by Newton's method.

    Args:
        frames: Windowed frames of an even length.
        order: Highest coefficient; there is one more, :math:`c_0`.
        alpha: First-order all-pass constant that warps the axis.
        floor: Added to the periodogram.

    Returns:
        One mel-cepstrum per frame.

    Raises:
        numpy.linalg.LinAlgError: A frame's normal equations are singular.
    """
    cosines, weights, warped_weights = _bases(frames.shape[1], 2 * order, alpha)
    models = cosines[:, : order + 1]
    spectrum = np.fft.rfft(frames, axis=1)
    periodogram = spectrum.real**2 + spectrum.imag**2 + floor
    cepstra: Cepstra = np.log(periodogram) @ (warped_weights[:, None] * models)
    cepstra[:, 0] /= 2
    # Mean of log |H| along the linear axis is the sum of c_m (-alpha)^m.
    target = (-alpha) ** np.arange(order + 1)
    lags = np.arange(order + 1)
    toeplitz, hankel = abs(lags[:, None] - lags), lags[:, None] + lags

    before = np.full(len(frames), np.inf)
    active = np.arange(len(frames))
    for iteration in range(1, _MAX_ITERATIONS + 1):
        residual = periodogram[active] * np.exp(-2 * (cepstra[active] @ models.T))
        correlation = residual @ (weights[:, None] * cosines)
        now = correlation[:, 0]
        if iteration > _UNCHECKED_ITERATIONS:
            moving = np.abs(now - before[active]) >= _CONVERGED * now
            active, correlation, now = active[moving], correlation[moving], now[moving]
        if len(active) == 0:
            break
        before[active] = now
        normal = correlation[:, toeplitz] + correlation[:, hankel]
        slope = correlation[:, : order + 1] - target
        cepstra[active] += np.linalg.solve(normal, slope[..., None])[..., 0]
    return cepstra


def _bases(
    samples: int, highest: int, alpha: float
) -> tuple[
    Float64[NDArray[np.float64], "bins terms"],
    Float64[NDArray[np.float64], " bins"],
    Float64[NDArray[np.float64], " bins"],
]:
    omega = np.linspace(0.0, np.pi, samples // 2 + 1)
    warped = omega + 2 * np.arctan2(alpha * np.sin(omega), 1 - alpha * np.cos(omega))
    weights = np.full(len(omega), 2.0 / samples)
    weights[[0, -1]] /= 2
    slope = (1 - alpha**2) / (1 + alpha**2 - 2 * alpha * np.cos(omega))
    return np.cos(np.outer(warped, np.arange(highest + 1))), weights, weights * slope
