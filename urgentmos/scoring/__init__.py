"""Recordings to rows: decoding, windows, batches, provenance."""

from urgentmos.scoring.compare_files import Comparison, compare_files
from urgentmos.scoring.folder_pairs import match_folders
from urgentmos.scoring.row import Row, WindowScores
from urgentmos.scoring.score_files import score_files

__all__ = ["Comparison", "Row", "WindowScores", "compare_files", "match_folders", "score_files"]
