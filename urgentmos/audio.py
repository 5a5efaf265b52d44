"""Audio files to mono waveforms at the model's rate, whole or block by block."""

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
import soxr

from urgentmos.audio_suffixes import HOW_TO_CONVERT, UNDECODED_SUFFIXES
from urgentmos.mpeg_stream import MpegStream, states_length
from urgentmos.ndarray import NDArray
from urgentmos.ogg_pages import has_further_streams
from urgentmos.rates import SAMPLE_RATE as SAMPLE_RATE
from urgentmos.rates import check_rate
from urgentmos.wav_header import CorrectedWav, find_unstated_samples

MIN_DURATION_S = 0.025
"""Shorter recordings hold less than one analysis window and are refused."""

MAX_LEVEL = 2.0**31
"""Largest sample, full scale 1: floats that hold 32-bit integers reach it, and beyond it the power
of a recording overflows."""

SILENT_LEVEL = 10 ** (-70 / 20)
"""Peak below which a recording is flagged as silent, full scale 1: -70 dB."""

# Of a damaged file the block in which decoding fails is lost, so blocks are short. And they are
# whole frames of FLAC, as its encoders write them: a frame that is cut is decoded twice. Streams of
# MP3 fail at their end where the last frame is cut.
_BLOCK_S, _FLAC_FRAME, _MPEG_FRAME, _MAX_BLOCK_SAMPLES = 0.5, 1 << 12, 1152, 1 << 18
_FULL_SCALE = 0.999
_CLIPPED_SHARE = 1e-4
# Programs that write to a pipe cannot know the length and write a huge one: SoX 0x7F000000 or so
# into AIFF, others more.
_UNKNOWN_LENGTH = 0x7EFF0000
# libsndfile's SF_COUNT_MAX: of a FLAC that was written to a pipe.
_UNKNOWN_FRAMES = (1 << 63) - 1
# As libsndfile tells them of WAV, AIFF, Wave64, AU and RF64.
_LENGTHS = re.compile(
    r"^ *(?:data|SSND|riff|Data Size|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
# With one slash, as pathlib gives it. Of two letters or more: C:/ is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_OGG_BROKEN_OFF = "lacks an end-of-stream bit"


class AudioError(ValueError):
    """A recording cannot be used; the message is the reason written into its row."""


@dataclass(frozen=True)
class Audio:
    """One decoded recording.

    Attributes:
        waveform: Mono samples (mean over channels) at the wanted rate, float32, full scale 1.
        sample_rate: Rate of the file in Hz.
        channels: Channels of the file.
        duration_s: Duration of what could be decoded.
        resampled: Whether the waveform's rate differs from the file's.
        flags: What a reader of its score should know: see ``AudioReader.flags``.
    """

    waveform: NDArray[np.float32]
    sample_rate: int
    channels: int
    duration_s: float
    resampled: bool
    flags: tuple[str, ...] = ()


class AudioReader:
    """Decode one file block by block, in memory that depends on neither file nor header.

    Use it as a context manager and run through ``blocks`` once; ``num_samples``, ``duration_s`` and
    ``flags`` describe what was read so far and are final when the blocks are used up.

    Args:
        path: A regular file that libsndfile can decode.
        sample_rate: Rate of the blocks in Hz.
        min_duration_s: What is shorter is refused.

    Attributes:
        sample_rate: Rate of the file in Hz.
        channels: Channels of the file.
        resampled: Whether the blocks' rate differs from the file's.
        num_samples: Samples decoded per channel, at the file's rate.
        is_read: Whether all that can be decoded was read, and nothing in it refused.

    Raises:
        AudioError: The file is missing, unreadable, empty or not audio.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample_rate: int = SAMPLE_RATE,
        min_duration_s: float = MIN_DURATION_S,
    ) -> None:
        self._descriptor = _open_file(path)
        self._stream: MpegStream | None = None
        self._states_length = True
        self._broken_off = False
        try:
            with _failing_disk_told():
                self._file = self._open(suffix=Path(path).suffix.lower())
        except AudioError:
            self._close_descriptors()
            raise
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.resampled = self.sample_rate != sample_rate
        self.num_samples = 0
        self.is_read = False
        self._wanted_rate, self._min_duration_s = sample_rate, min_duration_s
        self._low, self._high = np.inf, -np.inf
        self._num_clipped = 0

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._close_descriptors()

    @property
    def duration_s(self) -> float:
        """Seconds decoded."""
        return self.num_samples / self.sample_rate

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader of this recording's score should know.

        ``truncated``: the file breaks off before its header or container says, or within a frame,
        or a WAV before its recorder stated a length, or an Ogg goes on with a further stream, which
        is not decoded; what is there is used. ``multichannel``: channels were averaged.
        ``resampled``. ``silent``: nothing above -70 dBFS in the average of the channels, where they
        may cancel, once a constant offset is taken away. ``clipped``: more than 0.01 % of the
        samples of all channels are, like both their neighbours, at or beyond 0.999 of full scale.
        """
        silent = self.num_samples > 0 and (self._high - self._low) / 2 < SILENT_LEVEL
        clipped = self._num_clipped > _CLIPPED_SHARE * self.num_samples * self.channels
        flags = {
            "truncated": self._broken_off,
            "multichannel": self.channels > 1,
            "resampled": self.resampled,
            "silent": silent,
            "clipped": clipped,
        }
        return tuple(name for name, is_set in flags.items() if is_set)

    @property
    def stated_duration_s(self) -> float | None:
        """Seconds by the file's header; None where it does not say."""
        return self._file.frames / self.sample_rate if self._states_length else None

    def blocks(
        self,
        *,
        cut: Callable[[Iterator[NDArray[np.float32]]], Iterator[NDArray[np.float32]]] = iter,
    ) -> Iterator[NDArray[np.float32]]:
        """Decode, average the channels and resample, one block after the other.

        Args:
            cut: What is done to the blocks, at the recording's own rate, before they are resampled.

        Raises:
            AudioError: A sample is NaN or infinite, or the whole file turns out to be too short.
        """
        resampler = (
            soxr.ResampleStream(
                self.sample_rate, self._wanted_rate, 1, dtype="float32", quality="HQ"
            )
            if self.resampled
            else None
        )
        for mono in cut(self._decode()):
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        with _failing_disk_told():
            self._broken_off = self._broken_off or self._header_claims_more()
        self.is_read = True
        if self.num_samples == 0:
            raise AudioError("no samples: the file has a header and no audio")
        if self.duration_s < self._min_duration_s:
            raise AudioError(
                f"too short: {self.num_samples} samples, {1000 * self.duration_s:.3g} ms; "
                f"at least {1000 * self._min_duration_s:.0f} ms is needed"
            )

    def _open(self, *, suffix: str) -> soundfile.SoundFile:
        file = _open_decoder(self._descriptor, suffix=suffix)
        start = None if file.frames else find_unstated_samples(self._descriptor)
        if start is not None:
            file.close()
            self._broken_off = True
            return _open_decoder(CorrectedWav(self._descriptor, start), suffix=suffix)
        if file.format != "MP3":
            self._states_length = file.frames < _UNKNOWN_FRAMES
            return file
        if states_length(self._descriptor):
            return file
        self._states_length = False
        if sys.platform == "win32":
            return file  # Its sockets are no files.
        file.close()
        self._stream = MpegStream(self._descriptor)
        return _open_decoder(self._stream.fileno(), suffix=suffix)

    def _close_descriptors(self) -> None:
        if self._stream is not None:
            self._stream.close()
        os.close(self._descriptor)

    def _decode(self) -> Iterator[NDArray[np.float32]]:
        whole = _FLAC_FRAME * max(1, round(_BLOCK_S * self.sample_rate / _FLAC_FRAME))
        if self._stream is not None:
            whole = _MPEG_FRAME
        num_frames = min(whole, max(1, _MAX_BLOCK_SAMPLES // self.channels))
        buffer = np.empty((num_frames, self.channels), np.float32)
        while True:
            try:
                block = self._file.read(out=buffer)
            except soundfile.LibsndfileError:
                self._broken_off = True
                return
            if len(block) == 0:
                return
            self._measure(block)
            # One channel: a copy, since the buffer is filled again.
            mono = block.mean(axis=1) if self.channels > 1 else block[:, 0].copy()
            # Not of the channels: what cancels between them is not scored.
            self._low = min(self._low, float(mono.min()))
            self._high = max(self._high, float(mono.max()))
            yield mono

    def _measure(self, block: NDArray[np.float32]) -> None:
        low, high = float(block.min()), float(block.max())
        if not np.isfinite(low + high):
            position = int(np.argmin(np.isfinite(block).all(axis=1))) + self.num_samples
            what = "NaN" if np.isnan(block).any() else "infinite"
            raise AudioError(f"{what} samples, the first at {position / self.sample_rate:.3f} s")
        if max(high, -low) > MAX_LEVEL:
            raise AudioError(
                f"samples of {max(high, -low):.1e} where full scale is 1: not audio, or damaged"
            )
        self.num_samples += len(block)
        if max(high, -low) >= _FULL_SCALE:
            full = np.abs(block) >= _FULL_SCALE
            self._num_clipped += int(np.sum(full[2:] & full[1:-1] & full[:-2]))

    def _header_claims_more(self) -> bool:
        log = self._file.extra_info
        lengths = _LENGTHS.search(log)
        if lengths is not None:
            claimed, present = int(lengths[1]), int(lengths[2])
            return present < claimed < _UNKNOWN_LENGTH
        if _OGG_BROKEN_OFF in log:
            return True
        if self._file.format == "OGG" and has_further_streams(self._descriptor):
            return True
        return self._states_length and 0 < self.num_samples < 0.98 * self._file.frames


def read_audio(
    path: str | os.PathLike[str],
    *,
    sample_rate: int = SAMPLE_RATE,
    min_duration_s: float = MIN_DURATION_S,
) -> Audio:
    """Read a whole recording (WAV, FLAC, OGG Vorbis, Opus, MP3 and what else libsndfile decodes).

    Args:
        path: File to read.
        sample_rate: Wanted rate in Hz; the file is resampled with soxr (HQ) where it differs.
        min_duration_s: What is shorter is refused.

    Raises:
        AudioError: The recording cannot be used; the message is the reason.
    """
    with AudioReader(path, sample_rate=sample_rate, min_duration_s=min_duration_s) as reader:
        waveform = np.concatenate(list(reader.blocks()))
        return Audio(
            waveform=waveform,
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            duration_s=reader.duration_s,
            resampled=reader.resampled,
            flags=reader.flags,
        )


def measure_duration_s(path: str | os.PathLike[str]) -> float:
    """Tell how long a recording is: by its header, or by decoding it where that does not say.

    Args:
        path: The file.

    Returns:
        Seconds; 0 for a header without audio.

    Raises:
        AudioError: The recording cannot be used; the message is the reason.
    """
    with AudioReader(path, min_duration_s=0.0) as reader:
        if reader.stated_duration_s is not None:
            return reader.stated_duration_s
        for _ in reader.blocks():
            pass
        return reader.duration_s


def _open_file(path: str | os.PathLike[str]) -> int:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer. O_BINARY: on Windows some
        # bytes would be taken for ends of lines, and one for the end of the file.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise AudioError(f"no such file{_why_missing(os.fspath(path))}") from error
    except PermissionError as error:
        raise AudioError("no permission to read the file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"cannot be opened: {reason}") from error
    status = os.fstat(descriptor)
    problems: Sequence[tuple[bool, str]] = (
        (stat.S_ISDIR(status.st_mode), "is a folder, not a file"),
        (not stat.S_ISREG(status.st_mode), "is not a regular file"),
        (status.st_size == 0, "empty file (0 bytes)"),
    )
    for is_so, reason in problems:
        if is_so:
            os.close(descriptor)
            raise AudioError(reason)
    return descriptor


@contextlib.contextmanager
def _failing_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror or error}") from error


def _why_missing(name: str) -> str:
    if name == "-":
        return "; audio is not read from stdin: write it to a file first"
    if _URL.match(name):
        return "; nothing is downloaded here: fetch it first"
    if name.startswith("~") or set("*?") & set(name):
        return "; ~, * and ? mean something to a shell only, outside of quotes"
    return ""


def _open_decoder(file_or_descriptor: int | CorrectedWav, *, suffix: str) -> soundfile.SoundFile:
    try:
        # By descriptor and not by name: libsndfile then judges by content, and a text file called
        # speech.vox is not taken for headerless audio.
        file = soundfile.SoundFile(file_or_descriptor, closefd=False)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".") or f"libsndfile error {error.code}"
        way_out = f"; {HOW_TO_CONVERT}" if suffix in UNDECODED_SUFFIXES else ""
        raise AudioError(f"not readable as audio: {reason}{way_out}") from error
    try:
        check_rate(file.samplerate)
    except ValueError as error:
        file.close()
        raise AudioError(str(error)) from error
    if file.frames >= _UNKNOWN_FRAMES:
        # Behind each block soundfile seeks to where it is. At an end that the header does not state
        # libsndfile cannot, and the last block would be lost.
        file.seekable = lambda: False
    return file
