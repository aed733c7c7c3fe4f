"""The login of the served pages: names with hashed passwords, or a company's own login. All of it is local."""

import asyncio
import json
import re
import time
from typing import Any

from bokeh.server.auth_provider import AuthProvider
from jinja2 import Environment, PackageLoader, StrictUndefined
from panel.util import base64url_encode
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from motkit.access import Access, Tries

_PAGES = Environment(loader=PackageLoader("motkit", "templates"), autoescape=True, undefined=StrictUndefined)
_WRONG = "Name and password do not belong together."
_WAIT = "Too many tries for this name. Wait a minute, then try again."
DAYS = 1.0  # that a login lasts


def write_page(title: str, words: str, next_url: str, go: str = "", **form: str) -> str:
    """A small page: a form with a name and a password, or a message with one button."""
    blank = {"user": "", "problem": ""}
    template = _PAGES.get_template("login.html.jinja")
    return template.render(title=title, words=words, next=next_url, go=go, form=not go, **(blank | form))


class _Local(RequestHandler):
    """What the pages of the login share: nobody frames or keeps them, and they lead to this server only."""

    access: Access
    tries: Tries

    def set_default_headers(self) -> None:
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")

    @property
    def home(self) -> str:
        """The address of the first page."""
        return f"{getattr(self.application, 'prefix', '')}/"

    def next_url(self) -> str:
        """Where to go after the login: a place on this server, else the first page."""
        asked = self.get_argument("next", self.home)
        local = re.fullmatch(r"/(?![/\\])[^\\\x00-\x1f]*", asked) is not None
        return asked if local and asked.startswith(self.home) else self.home

    def flags(self) -> dict[str, Any]:
        """What every cookie of the login carries."""
        return {"httponly": True, "samesite": "Lax", "secure": self.request.protocol == "https", "path": self.home}


class LoginHandler(_Local):
    """Asks for a name and a password."""

    def get(self) -> None:
        self.write(write_page("motkit", "Log in to see this study.", self.next_url()))

    async def post(self) -> None:
        user, now_s = self.get_argument("username", ""), time.monotonic()
        waits = self.tries.must_wait(user, now_s)
        password = self.get_argument("password", "", strip=False)
        right = not waits and await asyncio.to_thread(self.access.admits, user, password)
        if right and self.access.role_of(user):
            self.tries.note(user, True, now_s)
            told = base64url_encode(json.dumps({"user": user}))
            for name, value in (("user", user), ("id_token", told)):
                self.set_signed_cookie(name, value, expires_days=DAYS, **self.flags())
            self.redirect(self.next_url())
            return
        if not waits:
            self.tries.note(user, False, now_s)
        self.set_status(429 if waits else 401)
        self.write(write_page("motkit", "Log in to see this study.", self.next_url(), user=user, problem=_WAIT if waits else _WRONG))


class LogoutHandler(_Local):
    """Forgets who was logged in."""

    def get(self) -> None:
        for name in ("user", "id_token", "access_token", "refresh_token", "oauth_expiry", "is_guest"):
            self.clear_cookie(name, path=self.home)
        self.write(write_page("motkit", "You are logged out.", self.home, go="Log in again"))


def _is_own_session(handler: WebSocketHandler, user: str) -> bool:
    """Whether nobody else has opened the session that a connection asks for."""
    from bokeh.util.token import get_session_id

    from motkit.app import open_apps

    told = handler.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    try:
        session = get_session_id(told[1].strip()) if len(told) == 2 else ""
    except (ValueError, KeyError, TypeError):
        return False
    owners = {app.visit.user for app in open_apps if app.document and (context := app.document.session_context) and context.id == session}
    return owners <= {user}


class PasswordProvider(AuthProvider):
    """Lets in those whose signed cookie names somebody of the access file."""

    def __init__(self, access: Access):
        self._access, self._shared = access, {"access": access, "tries": Tries()}
        super().__init__()

    def _user(self, handler: RequestHandler) -> str | None:
        """Who asks; None for somebody who has not logged in, or is not in the file any more."""
        told = handler.get_signed_cookie("user", max_age_days=DAYS)
        user = told.decode("utf-8") if told else None
        if user is None or not self._access.role_of(user):
            return None
        if isinstance(handler, WebSocketHandler):
            if not _is_own_session(handler, user):
                return None
            from panel import state

            state._active_users[user] += 1
        return user

    @property
    def get_user(self) -> Any:
        return self._user

    @property
    def login_url(self) -> str:
        return "/login"

    @property
    def login_handler(self) -> type[RequestHandler]:
        return type("Login", (LoginHandler,), self._shared)

    @property
    def logout_url(self) -> str:
        return "/logout"

    @property
    def logout_handler(self) -> type[RequestHandler]:
        return type("Logout", (LogoutHandler,), self._shared)
