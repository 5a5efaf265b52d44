from hypothesis import given
from hypothesis import strategies as st

from urgentmos.scoring.batches import plan_batches


@given(
    lengths=st.lists(st.integers(1, 1000), max_size=50), max_samples=st.integers(1, 3000)
)  # fmt: skip
def test_every_item_once_and_no_batch_beyond_the_bound(
    lengths: list[int], max_samples: int
) -> None:
    batches = plan_batches(lengths, max_samples=max_samples)
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[item] for item in batch)
        assert padded <= max_samples or len(batch) == 1


def test_like_lengths_go_together() -> None:
    assert plan_batches([1, 10, 2, 9], max_samples=20) == [[1, 3], [2, 0]]
