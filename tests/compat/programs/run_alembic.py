"""Runs Alembic's command line in a copy of alembic_site, since some commands write files there."""

import shutil
import sys
import tempfile
from pathlib import Path

from alembic.config import CommandLine

with tempfile.TemporaryDirectory() as folder:
    site = shutil.copytree(Path(__file__).parent / "alembic_site", Path(folder) / "site")
    ini = Path(folder) / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {site}\npath_separator = os\n[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n[logger_root]\nlevel = WARN\nhandlers =\n")
    CommandLine().main(["-c", str(ini), *sys.argv[1:]])
