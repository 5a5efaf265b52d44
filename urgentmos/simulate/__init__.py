"""Degraded speech with known kind and strength, made from clean speech."""
