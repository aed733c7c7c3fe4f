"""Hold 50 open pages and 200 decisions a second for minutes, and write docs/soak.md: waits, errors, memory, and rows of the ledger against answers."""

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import typer
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

import motkit
from motkit.apps.api import add_key
from motkit.ledger import Ledger

ROOT = Path(__file__).parent.parent
PATIENCE: dict[str, Any] = {"connect_timeout": 80, "request_timeout": 80}  # seconds; a browser has more, and would not give up after 20


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    """A served process: its host and port, and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with subprocess.Popen([sys.executable, "-m", "motkit", "serve", "--port", port, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        server.stdout.readline()
        try:
            yield f"127.0.0.1:{port}", psutil.Process(server.pid)
        finally:
            server.send_signal(signal.SIGINT)


class Pages:
    """Open pages as a browser holds them: the page, then a connection that answers every sign of life."""

    def __init__(self, host: str):
        self.host, self.loop, self.open, self.messages, self.waits = host, asyncio.new_event_loop(), list[Any](), 0, list[float]()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def _open(self) -> None:
        page = await AsyncHTTPClient().fetch(f"http://{self.host}/", **PATIENCE)
        token = re.search(r'"token":"([^"]+)"', page.body.decode())[1]
        asked = HTTPRequest(f"ws://{self.host}/ws", headers={"Origin": f"http://{self.host}"}, **PATIENCE)
        line = await websocket_connect(asked, subprotocols=["bokeh", token], on_message_callback=self._hear)
        self.open.append(line)

    def _hear(self, message: str | bytes | None) -> None:
        self.messages += message is not None

    def add(self) -> None:
        """Open one more."""
        begun = time.perf_counter()
        asyncio.run_coroutine_threadsafe(self._open(), self.loop).result(170)
        self.waits.append(time.perf_counter() - begun)

    def alive(self) -> int:
        """How many were not cut off."""
        return sum(line.protocol is not None and not line.protocol.client_terminated and not line.protocol.server_terminated for line in self.open)

    def close(self) -> None:
        """Close them all."""
        for line in self.open:
            self.loop.call_soon_threadsafe(line.close)
        self.loop.call_soon_threadsafe(self.loop.stop)


def decide(host: str, key: str, customers: list[str], rate: float, until: float, waits: list[float], wrong: list[str], kept: set[str]) -> None:
    """Ask for decisions at a rate, one after the other on one line."""
    line, asked, started = http.client.HTTPConnection(host, timeout=30), 0, time.perf_counter()
    while time.perf_counter() < until:
        due = started + asked / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        body = json.dumps({"customer_id": customers[(asked * 7919 + id(line)) % len(customers)]})
        begun = time.perf_counter()
        try:
            line.request("POST", "/v1/decide", body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
            answer = line.getresponse()
            told = json.loads(answer.read())
            kept.add(told["decision_id"]) if answer.status == 200 else wrong.append(f"{answer.status}: {told.get('title')}")
        except (OSError, http.client.HTTPException) as error:
            wrong.append(type(error).__name__)
            line = http.client.HTTPConnection(host, timeout=30)
        waits.append(time.perf_counter() - begun)
        asked += 1


def megabytes(process: psutil.Process) -> float:
    """What a process and its children hold."""
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20


def say_memory(held: list[float]) -> str:
    """Memory from start to end, at each fifth of the time."""
    return f"{', '.join(f'{one:.0f}' for one in held)} MB"


def soak(study: Path, folder: Path, seconds: float, sessions: int, rate: float) -> dict[str, object]:
    """Run pages and decisions beside each other and give what was seen."""
    ledger = f"sqlite:///{folder}/ledger.db"
    keys = [add_key(folder / "keys.toml", f"sender {k}", "sender") for k in range(8)]
    customers = motkit.open_study(study).table("engagement")["customer_id"].to_list()
    with served(str(study), "--quiet") as (pages, shown), served(str(study), "--api", "--ledger", ledger, "--keys", str(folder / "keys.toml")) as (api, asked):
        held, waits, wrong, kept = Pages(pages), list[float](), list[str](), set[str]()
        for _ in range(sessions):
            try:
                held.add()
            except (OSError, TypeError, TimeoutError, HTTPClientError) as error:
                wrong.append(f"a page: {type(error).__name__}")
        until = time.perf_counter() + seconds
        threads = [threading.Thread(target=decide, args=(api, key, customers, rate / len(keys), until, waits, wrong, kept)) for key in keys]
        for thread in threads:
            thread.start()
        memory = [(megabytes(shown), megabytes(asked))]
        for fifth in range(4, -1, -1):
            time.sleep(max(0.0, until - seconds * fifth / 5 - time.perf_counter()))
            memory.append((megabytes(shown), megabytes(asked)))
        for thread in threads:
            thread.join()
        alive = held.alive()
        held.close()
    rows = {entry.ref for entry in Ledger(ledger).entries(["decision"])}
    return {
        "seconds": round(seconds),
        "pages held open to the end": f"{alive} of {sessions}",
        "a page was open after, at the slowest": f"{max(held.waits, default=float('nan')):.1f} s",
        "decisions answered": f"{len(kept):,}",
        "decisions a second": f"{len(waits) / seconds:.0f} of {rate:.0f} wanted",
        "half waited at most": f"{np.quantile(waits, 0.5) * 1000:.1f} ms",
        "99 of 100 waited at most": f"{np.quantile(waits, 0.99) * 1000:.1f} ms",
        "errors": f"{len(wrong)}" + (f" ({', '.join(sorted(set(wrong))[:4])})" if wrong else ""),
        "answered decisions that the ledger lacks": f"{len(kept - rows)}",
        "memory of the pages at the start and after each fifth": say_memory([one for one, _ in memory]),
        "memory of the decisions at the start and after each fifth": say_memory([one for _, one in memory]),
    }


def main(study: Path, seconds: float = 300, sessions: int = 50, rate: float = 200, out: Path = ROOT / "docs" / "soak.md") -> None:
    """Soak a study's pages and decisions."""
    with tempfile.TemporaryDirectory() as folder:
        seen = soak(study, Path(folder), seconds, sessions, rate)
    lines = "\n".join(f"| {name} | {value} |" for name, value in seen.items())
    out.write_text(f"# Load\n\nMade by `make soak` with motkit {motkit.__version__}, pages and decisions beside each other on one machine of {psutil.cpu_count()} processors.\n\n| | |\n|---|---|\n{lines}\n", encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
