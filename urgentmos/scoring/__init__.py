"""Recordings to rows: decoding, windows, batches, provenance, resume."""
