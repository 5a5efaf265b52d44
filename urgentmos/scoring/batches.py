"""Windows of like length put together, never more padded audio than allowed."""

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], *, max_samples: int) -> list[list[int]]:
    """Group items so that the padded size of each batch stays within a bound.

    Args:
        lengths: Samples of each item.
        max_samples: Bound on items times longest item; an item beyond it is a batch of its own.

    Returns:
        Positions in ``lengths``, each once, longest batch first, so that running out of memory
        shows at the start.
    """
    batches: list[list[int]] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lambda k: (-lengths[k], k)):
        if batches and (len(batches[-1]) + 1) * longest <= max_samples:
            batches[-1].append(position)
        else:
            batches.append([position])
            longest = lengths[position]
    return batches
