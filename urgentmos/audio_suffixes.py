"""Which files are recordings, by their names."""

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac"),
        *(".ogg", ".oga", ".opus", ".mp3", ".mp2"),
        *(".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".voc"),
        # NIST SPHERE, the last two as in WSJ.
        *(".sph", ".nist", ".wv1", ".wv2"),
    }
)
"""Suffixes looked for inside folders; a file named explicitly is read whatever its suffix."""

UNDECODED_SUFFIXES = frozenset(
    {
        *(".m4a", ".m4b", ".aac", ".wma", ".amr", ".awb", ".3ga", ".ac3", ".ra", ".spx", ".gsm"),
        *(".ape", ".wv", ".tta", ".shn", ".dsf", ".dff", ".mka", ".weba"),
        *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".asf"),
        *(".mpg", ".mpeg", ".ogv"),
    }
)
"""Suffixes of audio and video that cannot be read here."""

HOW_TO_CONVERT = "convert to WAV or FLAC first, as with: ffmpeg -i IN OUT.wav"
