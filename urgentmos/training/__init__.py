"""Objectives and the trainer."""
