"""Runs on disk: recording, reading, reporting, inspecting, exporting. One run is one directory."""

from oasis.runs.cascades import cascade_curve, cascades, compare_with_real
from oasis.runs.directory import RunDirectory
from oasis.runs.manifest import Manifest
from oasis.runs.reading import Run, open_run
from oasis.runs.recorder import Recorder
from oasis.runs.tables import world_tables

__all__ = [
    "Manifest",
    "Recorder",
    "Run",
    "RunDirectory",
    "cascade_curve",
    "cascades",
    "compare_with_real",
    "open_run",
    "world_tables",
]
