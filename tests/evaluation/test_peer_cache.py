from pathlib import Path

import pytest

from urgentmos.evaluation.peer_cache import PeerCache, PeerCacheError


def test_scores_are_added_to_those_that_others_added_meanwhile(tmp_path: Path) -> None:
    first, second = PeerCache(tmp_path / "peers.csv"), PeerCache(tmp_path / "peers.csv")
    assert first.read() == {}
    first.add({"a": {"pesq": 1.5}, "b": {"pesq": 2.0}})
    second.add({"a": {"estoi": 0.5}})
    second.add({"c": {}})
    assert first.read() == {"a": {"pesq": 1.5, "estoi": 0.5}, "b": {"pesq": 2.0}}
    assert [path.name for path in tmp_path.iterdir()] == ["peers.csv"]


def test_nothing_is_written_for_no_scores(tmp_path: Path) -> None:
    PeerCache(tmp_path / "peers.csv").add({"a": {}})
    assert not list(tmp_path.iterdir())


def _stop_half_way(cache: PeerCache, request: list[str]) -> None:
    with cache.workplace(request) as folder:
        (folder / "half").touch()
        raise KeyboardInterrupt


def test_a_workplace_is_found_again_after_a_kill_and_gone_when_done(tmp_path: Path) -> None:
    cache = PeerCache(tmp_path / "peers.csv")
    with pytest.raises(KeyboardInterrupt):
        _stop_half_way(cache, ["pesq 1", "a"])
    with cache.workplace(["pesq 1", "b"]) as other:
        assert not (other / "half").exists()
    with cache.workplace(["pesq 1", "a"]) as again:
        assert (again / "half").exists()
        with cache.workplace(["pesq 1", "a"]) as private:
            assert private.parent != tmp_path
    assert not list(tmp_path.iterdir())


def test_where_no_folder_can_be_made_another_table_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = PeerCache(tmp_path / "file" / "peers.csv")
    with pytest.raises(PeerCacheError, match="--peer-cache"), cache.workplace(["a"]):
        pass
