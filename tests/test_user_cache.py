from pathlib import Path

import pytest

from urgentmos.user_cache import UserCacheError, user_cache


@pytest.mark.parametrize(("stated", "expected"), [("/stated", "/stated"), ("", "/home/me/.cache")])
def test_the_stated_folder_stands_before_that_of_the_home(
    monkeypatch: pytest.MonkeyPatch, stated: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", stated)
    assert user_cache() == Path(expected) / "urgentmos"


def test_without_a_home_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(UserCacheError, match="Set XDG_CACHE_HOME"):
        user_cache()
