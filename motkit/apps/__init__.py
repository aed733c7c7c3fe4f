"""Serving the pages of a study. Panel is imported only when a page is served."""

import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from motkit.errors import MotkitError, SettingError

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


class _Watch:
    """Keeps a server's shelf in step with the study: new runs reach open pages, and views are made before they are asked for."""

    def __init__(self, shelf: Any, loop: Any):
        from motkit.app import open_apps
        from motkit.page_parts import pages_for
        from motkit.page_shelf import list_work
        from motkit.pages import PAGES

        self.shelf, self.loop, self.apps = shelf, loop, open_apps
        self._list: Callable[[], list[Callable[[], Any]]] = lambda: list_work(shelf, pages_for(PAGES, shelf.study))
        self._work: list[Callable[[], Any]] = []
        self.parent, self.seen = os.getppid(), shelf.runs

    def start(self, process: bool = False) -> None:
        """Begin to watch; a process of several ends with the one that started it."""
        from tornado.ioloop import PeriodicCallback

        PeriodicCallback(self.look, 2000).start()
        if process:
            PeriodicCallback(self.follow, 1000).start()
        self.loop.call_later(1.0, self.refill)

    def follow(self) -> None:
        """End when the process that started this one is gone."""
        if os.getppid() != self.parent:
            self.loop.stop()

    def look(self) -> None:
        """Show a new run of the study on all open pages. While there is no study to read, the last one stays."""
        from motkit.app import renew_app

        try:
            self.shelf.renew()
        except MotkitError:
            return
        if self.seen == self.shelf.runs:
            return
        self.seen = self.shelf.runs
        for app in list(self.apps):
            if app.document is not None:
                app.document.add_next_tick_callback(partial(renew_app, app))
        self.refill()

    def refill(self) -> None:
        """Make the views of all pages, one after the other, when nobody else needs the server."""
        try:
            self._work = self._list()
        except MotkitError:
            return
        self.loop.call_later(0.2, self.step)

    def step(self) -> None:
        """Make one view. What the study cannot give now is made when it is asked for."""
        if not self._work:
            return
        try:
            self._work.pop(0)()
        except MotkitError:
            self._work.clear()
        self.loop.call_later(0.05, self.step)


def _health(shelf: Any) -> type:
    """A handler that says whether there is a study to show."""
    from tornado.web import RequestHandler

    class Health(RequestHandler):
        def get(self) -> None:
            try:
                self.write({"status": "ok", "as_of": str(shelf.study.manifest.get("as_of", ""))})
            except MotkitError:
                self.set_status(503)
                self.write({"status": "no study"})

    return Health


def _close_embedding(server: Any, prefix: str) -> None:
    """Answer 404 where Bokeh would embed a session in a page of another site: nobody asks for it, and it knows no login."""
    from tornado.web import RequestHandler

    class Gone(RequestHandler):
        def prepare(self) -> None:
            self.set_status(404)
            self.finish("There is nothing here.")

    server._tornado.add_handlers(".*", [(rf"{prefix}/autoload\.js", Gone)])


def _log_request(handler: Any) -> None:
    """One line a request, without who asked and what was asked in the query; static files and health checks are left out."""
    path = handler.request.path
    if re.search(r"/(static|components)/|/(liveness|health|favicon\.ico)$", path):
        return
    known = isinstance(handler.current_user, str) and handler.current_user != "default_user"
    spent_ms, who = 1000 * handler.request.request_time(), "logged in" if known else "-"
    logging.getLogger("motkit.requests").info("%s %s %d %.0f ms %s", handler.request.method, path, handler.get_status(), spent_ms, who)


def _log_to_stderr() -> None:
    """Write the lines about requests to standard error, with their time."""
    logger = logging.getLogger("motkit.requests")
    if not logger.handlers:
        writer = logging.StreamHandler()
        writer.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(writer)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _login(access: Any) -> dict[str, Any]:
    """What the server needs to know of the login: passwords of a file, or a company's own."""
    import panel as pn

    from motkit.access import oauth_secret

    secret = os.environ.get("MOTKIT_COOKIE_SECRET") or secrets.token_hex(32)
    pn.config.authorize_callback = lambda told: bool(access.role_of(pn.state.user))
    common: dict[str, Any] = {"cookie_secret": secret}
    if not access.oauth:
        from motkit.apps.login import PasswordProvider

        return common | {"auth_provider": PasswordProvider(access)}
    oauth = access.oauth
    common |= {"oauth_provider": oauth["provider"], "oauth_key": oauth["key"], "oauth_secret": oauth_secret(access)}
    common |= {"oauth_redirect_uri": oauth["redirect_uri"], "oauth_extra_params": dict(oauth.get("extra", {}))}
    return common | {"oauth_jwt_user": oauth.get("user_key", "email"), "oauth_encryption_key": None}


def _prefix(text: str) -> str:
    """The path under which a proxy shows the pages, as '/name' or ''. Raises `SettingError` for what is no path."""
    if not re.fullmatch(r"/?([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?/?", text):
        raise SettingError("prefix", f"{text!r} is not a path", "Name letters, digits and dashes, for instance: --prefix /studies/june")
    return f"/{text.strip('/')}" if text.strip("/") else ""


@dataclass(frozen=True)
class Serving:
    """How pages are served, beside the study and the address."""

    auth: str | Path | None = None  # the access file; None serves the pages of sums without a login
    num_procs: int = 1  # server processes; more than one answer more readers at a time
    prefix: str = ""  # path under which a proxy shows the pages
    behind_proxy: bool = False  # whether to believe the headers of a proxy about who asks and by which protocol
    log: bool = True  # whether to write a line a request to standard error
    ledger: str = ""  # address of the ledger whose decisions the customer card shows; '' for the study alone


def serve(
    study_path: str | Path,  # the folder of a study
    port: int = PORT,  # 0 takes any that is free
    address: str = HOST,  # only this machine by default; '0.0.0.0' shows it to the network, without a login
    open_browser: bool = False,  # whether to open the page in the browser
    allow: Sequence[str] = (),  # further HOST:PORT that readers type to come here, e.g. a proxy's; HOST alone for its usual port
    how: Serving = Serving(),  # noqa: B008  # login, processes, prefix, log
) -> None:
    """Serve the pages of a study until Ctrl+C; print the address once it answers.

    `/liveness` tells a watcher that the server lives, `/health` that it has a study to show. Raises `StudyError` if there is no study, `SettingError` if the
    port is taken or a host of `allow` cannot be read, `MissingExtraError` without the extra `apps`.
    """
    _origins(address, port, allow)  # a typing error is told before anything is loaded
    prefix = _prefix(how.prefix)
    access = None
    if how.auth:
        from motkit.access import read_access

        access = read_access(how.auth)
    elif how.ledger:
        raise SettingError("ledger", "it is shown on the customer card, which needs a login", "Name who may enter: --auth access.toml")
    port = _free_port(address, port)
    from motkit.app import make_app
    from motkit.page_shelf import Shelf

    shelf = Shelf(study_path)
    page = make_app(study_path, shelf=shelf, role_of=access.role_of if access else None)
    if how.num_procs == 1:  # processes are forked before anything is computed
        page()  # what is loaded once is loaded now, so that the first visitor does not wait for it
    if how.log:
        _log_to_stderr()
    local = f"http://{HOST if address in (*EVERYWHERE, 'localhost') else address}:{port}{prefix}"
    try:
        server = _make_server(page, shelf, port, address, prefix, how, access, _origins(address, port, allow))
    except KeyboardInterrupt:  # the process that waits for several others; they have got the same signal
        return
    if how.num_procs > 1:
        page()
    shelf.ledger = _open_ledger(how.ledger) if how.ledger else None  # by each process for itself
    _Watch(shelf, server.io_loop).start(how.num_procs > 1)
    first = how.num_procs == 1 or _is_first_process()

    async def tell() -> None:
        from tornado.httpclient import AsyncHTTPClient

        await AsyncHTTPClient().fetch(f"{local}/liveness", request_timeout=60)
        print(f"The study {study_path} is shown at {local}/ (Ctrl+C ends it).", flush=True)
        if address in EVERYWHERE and not allow:
            print(f"Readers on other machines are let in by the name that they type: --allow NAME:{port}", flush=True)
        if open_browser:
            server.show("/")

    _ignore_leavers(server)
    if first:
        server.io_loop.add_callback(tell)
    server.run_until_shutdown()


def _open_ledger(address: str) -> Any:
    """The ledger behind the customer card. Raises `LedgerError` for an address that cannot be opened."""
    from motkit.journal import Journal

    ledger = Journal(address)
    ledger.entries(["erased"])
    return ledger


def _is_first_process() -> bool:
    """Whether this is the first of several processes."""
    from tornado.process import task_id

    return task_id() == 0


def _make_server(page: Any, shelf: Any, port: int, address: str, prefix: str, how: Serving, access: Any, origins: list[str]) -> Any:
    """The server, listening; with several processes, every one of them comes back from here."""
    from panel.io.server import get_server

    options: dict[str, Any] = {"title": "motkit", "liveness": True, "websocket_origin": origins, "location": False}
    options |= {"extra_patterns": [("/health", _health(shelf))], "log_function": _log_request}
    options |= {"prefix": prefix} if prefix else {}
    options |= {"num_procs": how.num_procs} if how.num_procs > 1 else {}
    options |= {"use_xheaders": True} if how.behind_proxy else {}
    options |= _login(access) if access else {}
    try:
        server = get_server({"/": page}, port=port, address=address, **options)
    except OSError as error:
        raise _taken(address, port, error) from None
    _close_embedding(server, prefix)
    return server
