"""Serving the pages of a study. Panel is imported only when a page is served."""

import logging
import socket
from pathlib import Path

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


def serve(
    study_path: str | Path,  # the folder of a study
    port: int = PORT,  # 0 takes any that is free
    address: str = HOST,  # only this machine by default; '0.0.0.0' shows it to the network, without a login
    open_browser: bool = False,  # whether to open the page in the browser
) -> None:
    """Serve the pages of a study until Ctrl+C; print the address once it answers.

    `/liveness` tells a watcher that the server lives. Raises `StudyError` if there is no study, `SettingError` if the
    port is taken, `MissingExtraError` without the extra `apps`.
    """
    port = _free_port(address, port)
    from motkit.overview_page import make_page

    page = make_page(study_path)
    page()  # what is loaded once is loaded now, so that the first visitor does not wait for it
    from panel.io.server import get_server
    from tornado.httpclient import AsyncHTTPClient

    local = f"http://{HOST if address in ('0.0.0.0', '::', 'localhost') else address}:{port}"
    origins = [f"{HOST}:{port}", f"localhost:{port}"] if address in (HOST, "localhost") else ["*"]
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)  # a reader who leaves early is no news
    try:
        server = get_server({"/": page}, port=port, address=address, title="motkit", liveness=True, websocket_origin=origins)
    except OSError as error:
        raise _taken(address, port, error) from None

    async def tell() -> None:
        await AsyncHTTPClient().fetch(f"{local}/liveness", request_timeout=60)
        print(f"The study {study_path} is shown at {local}/ (Ctrl+C ends it).", flush=True)
        if open_browser:
            server.show("/")

    server.io_loop.add_callback(tell)
    server.run_until_shutdown()
