"""The made-up study as a folder, and the command that serves it: what tests of served pages share."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from made_study import MadeStudy, make_study


def save_study(folder: Path, study: MadeStudy | None = None) -> Path:
    """The made-up study as a folder that `open_study` reads."""
    study, tables = study or make_study(), {}
    for name, table in study.frames.items():
        table.write_parquet(folder / f"{name}.parquet")
        tables[name] = {"file": f"{name}.parquet", "rows": table.height, "stage": "made"}
    manifest = {**study.manifest, "format": 1, "tables": tables, "stages": {}, "store": "none"}
    (folder / "manifest.part").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "manifest.part").replace(folder / "manifest.json")
    return folder


def start_server(*arguments: str) -> subprocess.Popen:
    """The command, with its own process group."""
    command = [sys.executable, "-m", "motkit.apps", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@contextmanager
def serve_study(folder: Path, *arguments: str) -> Iterator[str]:
    """Serve a study at a free port and give its address; stopped by Ctrl+C, the server must end quietly."""
    with start_server(str(folder), "--port", "0", *arguments) as server:
        try:
            line = server.stdout.readline()
            found = re.search(r"(http://127\.0\.0\.1:\d+\S*)/ ", line)
            assert found, line or server.stderr.read()
            yield found[1]
        finally:
            os.killpg(server.pid, signal.SIGINT)
        said = server.communicate(timeout=30)[1]
        assert server.returncode == 0, said
        assert "Traceback" not in said, said
