"""Numeric precision in which networks are computed."""

from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""``bfloat16`` runs matrix products and convolutions in it; all else stays in 32 bits."""
