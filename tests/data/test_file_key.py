from pathlib import Path

from urgentmos.data.file_key import file_key


def test_a_file_that_changed_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"1")
    first = file_key(path)
    assert file_key(path) == first
    path.write_bytes(b"12")
    assert file_key(path) != first
