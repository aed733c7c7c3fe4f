"""The core never opens a connection: the whole demo is computed with sockets forbidden."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
tried = []
def refuse(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect"):
        tried.append((event, str(given)))
        raise PermissionError(event)
sys.addaudithook(refuse)
import motkit
from motkit.study import DEMO_SETTINGS, run_study
from motkit.report import write_report
log = motkit.simulate_customers(n=150, seed=2)
study = run_study(DEMO_SETTINGS, log.events, sys.argv[1], progress=False, profiles=log.profiles)
write_report(study, sys.argv[1] + "/report.html")
for name in motkit.__all__:
    getattr(motkit, name)
print("tried", tried, len(study.tables))
"""


def test_a_study_and_its_report_are_made_without_any_connection(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "study")], check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.strip().splitlines()[-1]
    assert said.startswith("tried [] "), said
    assert int(said.split()[-1]) > 30


def test_the_hook_would_catch_a_connection() -> None:
    code = CODE.split("import motkit")[0] + "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9))\nexcept PermissionError:\n    pass\nprint(len(tried))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) >= 1
