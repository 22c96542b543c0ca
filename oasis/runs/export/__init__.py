"""A run in other programs' formats."""

from oasis.runs.export.csv_files import export_csv
from oasis.runs.export.export import FORMATS, export_run
from oasis.runs.export.graphml import export_graphml
from oasis.runs.export.sqlite import export_sqlite

__all__ = ["FORMATS", "export_csv", "export_graphml", "export_run", "export_sqlite"]
