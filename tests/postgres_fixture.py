"""A real PostgreSQL server for the tests that need one, in a temporary folder, where Debian's package is installed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A real server in a folder of its own, which can be stopped and started."""

    def __init__(self, home: Path, folder: Path):
        self.home, self.folder, self.port = home, folder, free_port()
        self.who: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
        self.address = f"postgresql://motkit:secret@127.0.0.1:{self.port}/postgres"
        data = folder / "data"
        subprocess.run([home / "initdb", "-D", data, "-U", "motkit", "-A", "trust", "--no-sync"], check=True, capture_output=True, cwd=folder, **self.who)
        self.command = [home / "postgres", "-D", data, "-k", folder, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder, **self.who)
        wait_for(self.port, self.process)

    def stop(self) -> None:
        """Stop at once; whoever is connected is cut off."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)


@contextmanager
def running_postgres() -> Iterator[Server]:
    """A real server in a temporary folder, which is stopped and removed afterwards."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    home = programs[-1] if programs else Path(shutil.which("initdb") or "/nowhere/initdb").parent
    if not (home / "initdb").exists():
        pytest.skip("PostgreSQL is not installed, so no server is tried")
    folder = Path(tempfile.mkdtemp(prefix="motkit-pg-"))
    try:
        if os.geteuid() == 0:
            try:
                shutil.chown(folder, "postgres")
            except LookupError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        server = Server(home, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a server for all tests."""
    with running_postgres() as server:
        yield server.address


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
