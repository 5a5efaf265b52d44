"""Rated corpora as their owners distribute them, to manifests."""
