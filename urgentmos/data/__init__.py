"""Manifests, pairs, batches and decoded recordings for training."""
