"""Serving the pages of a study. Panel is imported only when a page is served."""

import logging
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motkit.errors import SettingError

HOST = "127.0.0.1"
PORT = 5006


def _taken(address: str, port: int, error: Exception) -> SettingError:
    """What to say when the port cannot be had."""
    reason = (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")
    hint = f"Name another port, for instance: --port {port + 1 if 1024 <= port < 65535 else PORT}"
    return SettingError(f"port {port} on {address}", f"it cannot be used ({reason})", hint)


def _free_port(address: str, port: int) -> int:
    """The port to listen on; any that is free for 0. Raises `SettingError` when it cannot be had."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError) as error:
            raise _taken(address, port, error) from None
        return int(probe.getsockname()[1])


EVERYWHERE = ("0.0.0.0", "::")


def _origins(address: str, port: int, allow: Sequence[str] = ()) -> list[str]:
    """The hosts that a page may be opened under: the address that is served, and those allowed by name.

    A page of another site that is open in the same browser is refused. Raises `SettingError` for what is not HOST or
    HOST:PORT; a pattern such as `*` is neither.
    """
    wrong = [name for name in allow if not re.fullmatch(r"[A-Za-z0-9.-]+(:[1-9]\d{0,4})?", name)]
    if wrong:
        hint = "Name what readers type in the browser, for instance: --allow reports.example.org:8080"
        raise SettingError("allow", [f"{name!r} is not HOST:PORT" for name in wrong], hint)
    here = [HOST, "localhost"] if address in (HOST, "localhost", *EVERYWHERE) else []
    hosts = [f"{name}:{port}" for name in (*here, address) if ":" not in name]
    return list(dict.fromkeys([*hosts, *(name.lower() for name in allow)]))


def _ignore_leavers(server: Any) -> None:
    """Let a reader who leaves while the page is drawn be no news; what else goes wrong is told as before."""
    from tornado.websocket import WebSocketClosedError

    def tell(loop: Any, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), WebSocketClosedError):
            loop.default_exception_handler(context)

    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)
    server.io_loop.asyncio_loop.set_exception_handler(tell)


def serve(
    study_path: str | Path,  # the folder of a study
    port: int = PORT,  # 0 takes any that is free
    address: str = HOST,  # only this machine by default; '0.0.0.0' shows it to the network, without a login
    open_browser: bool = False,  # whether to open the page in the browser
    allow: Sequence[str] = (),  # further HOST:PORT that readers type to come here, e.g. a proxy's; HOST alone for its usual port
) -> None:
    """Serve the pages of a study until Ctrl+C; print the address once it answers.

    `/liveness` tells a watcher that the server lives. Raises `StudyError` if there is no study, `SettingError` if the
    port is taken or a host of `allow` cannot be read, `MissingExtraError` without the extra `apps`.
    """
    _origins(address, port, allow)  # a typing error is told before anything is loaded
    port = _free_port(address, port)
    from motkit.app import make_app

    page = make_app(study_path)
    page()  # what is loaded once is loaded now, so that the first visitor does not wait for it
    from panel.io.server import get_server
    from tornado.httpclient import AsyncHTTPClient

    local = f"http://{HOST if address in (*EVERYWHERE, 'localhost') else address}:{port}"
    origins = _origins(address, port, allow)
    try:
        server = get_server({"/": page}, port=port, address=address, title="motkit", liveness=True, websocket_origin=origins)
    except OSError as error:
        raise _taken(address, port, error) from None

    async def tell() -> None:
        await AsyncHTTPClient().fetch(f"{local}/liveness", request_timeout=60)
        print(f"The study {study_path} is shown at {local}/ (Ctrl+C ends it).", flush=True)
        if address in EVERYWHERE and not allow:
            print(f"Readers on other machines are let in by the name that they type: --allow NAME:{port}", flush=True)
        if open_browser:
            server.show("/")

    _ignore_leavers(server)
    server.io_loop.add_callback(tell)
    server.run_until_shutdown()
