"""Names of files and recordings as bytes to hash."""


def name_bytes(name: str) -> bytes:
    """Encode a name in UTF-8, also one that no valid UTF-8 gives, as file names on Linux may be."""
    return name.encode("utf-8", "surrogatepass")
