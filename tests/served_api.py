"""Decisions of a study over HTTP, by a process of its own."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from postgres_fixture import free_port


class Served:
    """A server, its folder and its keys."""

    def __init__(self, port: int, folder: Path, keys: dict[str, str]):
        self.at, self.folder, self.keys = f"http://127.0.0.1:{port}", folder, keys

    def ask(self, path: str, body: Any = None, role: str | None = "admin", **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer; every error must be problem JSON."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()} | ({} if role is None else {"Authorization": f"Bearer {self.keys[role]}"})
        request = urllib.request.Request(self.at + path, data, {"Content-Type": "application/json", **given})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            status, kind, text = refusal.code, refusal.headers["Content-Type"], refusal.read().decode()
        assert kind == "application/problem+json"
        assert "Traceback" not in text
        return status, json.loads(text)


@contextmanager
def serve_api(folder: Path, *options: str, keys: Mapping[str, str]) -> Iterator[Served]:
    """Serve the study in `folder / "study"` until the end of the block."""
    port = free_port()
    command = [sys.executable, "-m", "motkit", "serve", "study", "--api", "--port", str(port), *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert f"http://127.0.0.1:{port}/v1/decide" in process.stdout.readline()
            yield Served(port, folder, dict(keys))
        finally:
            process.terminate()
            process.wait(timeout=30)
