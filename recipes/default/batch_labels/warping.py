"""Mean distance along the cheapest warping path of many pairs of sequences at once."""

import torch
from jaxtyping import Float64
from torch import Tensor, nn

# The distance that one unit of a path's cost stands for.
_UNIT = 2.0**-30
# Cost of a path that there is not; the costs of those that there are stay below, up to 60 s.
_NO_PATH = 1 << 61


def mean_distance(
    ours: Float64[Tensor, "batch frames terms"], theirs: Float64[Tensor, "batch frames terms"]
) -> Float64[Tensor, " batch"]:
    """Average over the cells of the cheapest warping path, that of `urgentmos.labels.mcd`."""
    # Cells of one anti-diagonal do not depend on each other. Nothing is traced back: the cost of
    # the path to a cell is a whole number, with the count of the path's cells in its lowest bits.
    # Between the two, two bits say by which step a path would come, and are wiped once it has: of
    # equal costs the diagonal step is the smallest, then the one from above.
    #
    #     cost of a path   | distance in units | step, 2 bits | cells |
    batch, frames, _ = ours.shape
    device, diagonals = ours.device, 2 * frames - 1
    step = 1 << diagonals.bit_length()
    distance = _distances(ours, theirs)
    defined = distance.sum(dim=(1, 2)).isfinite()
    cost = (distance.nan_to_num_() / _UNIT).round_().long().mul_(4 * step).add_(1)
    # Each anti-diagonal (rows and columns that add up to its number) gets a place of its own, once
    # for each step that may follow. With as much room behind each row as there are columns less
    # one, a step down along an anti-diagonal is a step of the width less one; it finds the room
    # where there is no column. No path gets to cells before the first column, and none from cells
    # behind the last to a cell inside.
    width = diagonals
    roomy = nn.functional.pad(cost, (0, width - frames))
    turned = roomy.as_strided((diagonals, 1, batch, frames), (1, 0, frames * width, width - 1))
    steps = torch.arange(3, device=device)[:, None, None]
    skewed = cost.new_empty(diagonals, 3, batch, frames)
    torch.add(turned, steps * step, out=skewed)

    # Paths to the cells of three diagonals, by the step that would follow; a column before row 0.
    paths = cost.new_full((3, 3, batch, frames + 1), _NO_PATH)
    paths[1, 0, :, 0] = 0
    ends = [
        (diagonally[:, :-1], down[:, :-1], right[:, 1:], each[..., 1:])
        for each in paths
        for diagonally, down, right in [each.unbind()]
    ]
    best, wiped = torch.empty_like(cost[:, 0]), ~(3 * step)
    for number, diagonal in enumerate(skewed.unbind()):
        diagonally = ends[(number + 1) % 3][0]
        _, down, right, _ = ends[(number + 2) % 3]
        torch.minimum(down, right, out=best)
        torch.minimum(best, diagonally, out=best)
        best.bitwise_and_(wiped)
        torch.add(best, diagonal, out=ends[number % 3][3])
        if number == 0:
            paths[1, :, :, 0] = _NO_PATH
    last = paths[(diagonals - 1) % 3, 0, :, -1]
    cells = last % step
    total = (last // (4 * step)).double() * _UNIT
    return torch.where(defined, total / cells, torch.nan)


def _distances(
    ours: Float64[Tensor, "batch frames terms"], theirs: Float64[Tensor, "batch frames terms"]
) -> Float64[Tensor, "batch frames frames"]:
    # Not |a|² + |b|² - 2ab: the distance of equal frames has to be 0.
    squared = ours.new_zeros(len(ours), ours.shape[1], ours.shape[1])
    for a, b in zip(ours.unbind(-1), theirs.unbind(-1), strict=True):
        difference = a[:, :, None] - b[:, None, :]
        squared.addcmul_(difference, difference)
    return squared.sqrt_()
