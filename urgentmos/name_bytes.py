"""Names of files and recordings as bytes: to hash, and in files of JSON and of CSV.

A name on Linux need not be UTF-8; Python then gives it surrogates, which no encoding takes as is.
"""

JSON_ERRORS = "backslashreplace"
"""How to encode JSON: what is not Unicode becomes an escape, which JSON reads back."""

CSV_ERRORS = "surrogateescape"
"""How to encode and decode CSV: what is not Unicode keeps its bytes."""


def name_bytes(name: str) -> bytes:
    """Encode a name in UTF-8, also one that no valid UTF-8 gives, as file names on Linux may be."""
    return name.encode("utf-8", "surrogatepass")
