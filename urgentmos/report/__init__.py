"""Rows to tables and files."""
