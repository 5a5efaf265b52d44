import pytest

from urgentmos.simulate import tools
from urgentmos.simulate.tools import MissingToolError, ToolError, check_tools, run_tool


@pytest.fixture
def empty_machine(monkeypatch, tmp_path):
    """A machine without any program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for cached in (tools._available, tools._ffmpeg_encoders):
        cached.cache_clear()
    yield
    for cached in (tools._available, tools._ffmpeg_encoders):
        cached.cache_clear()


@pytest.mark.usefixtures("empty_machine")
def test_a_missing_tool_is_named_with_what_brings_it():
    with pytest.raises(MissingToolError, match=r"ffmpeg/libopus, sox/amr-nb.*libsox-fmt-all"):
        check_tools(["ffmpeg/libopus", "sox/amr-nb"])


@pytest.mark.usefixtures("empty_machine")
def test_running_a_missing_tool_names_it():
    with pytest.raises(MissingToolError, match="espeak-ng is not installed"):
        run_tool(["espeak-ng", "--version"])


def test_a_failing_tool_tells_its_own_reason():
    with pytest.raises(ToolError, match="exit status 3: broken"):
        run_tool(["sh", "-c", "echo broken >&2; exit 3"])
