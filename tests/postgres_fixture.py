"""A real PostgreSQL server for the tests that need one, in a temporary folder, where Debian's package is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a real server in a temporary folder, which is stopped and removed afterwards."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    home = programs[-1] if programs else Path(shutil.which("initdb") or "/nowhere/initdb").parent
    if not (home / "initdb").exists():
        pytest.skip("PostgreSQL is not installed, so no server is tried")
    root = os.geteuid() == 0
    who = {"user": "postgres"} if root else {}
    folder = Path(tempfile.mkdtemp(prefix="motkit-pg-"))
    try:
        if root:
            try:
                shutil.chown(folder, "postgres")
            except LookupError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        data, port = folder / "data", free_port()
        subprocess.run([home / "initdb", "-D", data, "-U", "motkit", "-A", "trust", "--no-sync"], check=True, capture_output=True, cwd=folder, **who)
        command = [home / "postgres", "-D", data, "-k", folder, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who) as server:
            try:
                wait_for(port, server)
                yield f"postgresql://motkit:secret@127.0.0.1:{port}/postgres"
            finally:
                server.terminate()
                server.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Wait until the server lets somebody in: it answers "N" to a question for encryption."""
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as line:
                line.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
                if line.recv(1) == b"N" and ready(port):
                    return
        except OSError:
            if server.poll() is not None:
                break
        time.sleep(0.1)
    pytest.skip("PostgreSQL did not start")


def ready(port: int) -> bool:
    """Whether the server has finished starting: it asks for nothing more from somebody it trusts."""
    with socket.create_connection(("127.0.0.1", port), 1) as line:
        words = b"user\x00motkit\x00database\x00postgres\x00\x00"
        line.sendall((len(words) + 8).to_bytes(4, "big") + b"\x00\x03\x00\x00" + words)
        return line.recv(1) == b"R"
