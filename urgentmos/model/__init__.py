"""The assessor: encoders, fusion, group encoders, heads, and what reads and writes them."""
