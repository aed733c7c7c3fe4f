"""What stands around a served study in a company, on this machine: a login of its own (OpenID Connect), and a proxy under a path."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

SECRET = "a secret of the client"


@contextmanager
def running(handlers: list) -> Iterator[str]:
    """Serve handlers at a free port from a thread of their own, and give the address."""
    sockets, ready, ended = bind_sockets(0, "127.0.0.1"), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> IOLoop:
        server = HTTPServer(Application(handlers))
        server.add_sockets(sockets)
        ready.set()
        await ended.wait()
        server.stop()
        await server.close_all_connections()
        AsyncHTTPClient().close()
        return IOLoop.current()

    def run() -> None:
        loop.run_until_complete(serve()).close(all_fds=True)  # also the lines to others, whose other end may still be open

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(10)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)


def _part(values: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@contextmanager
def company_login(who: list[str]) -> Iterator[str]:
    """A login that lets the last of `who` in without asking, as the standard has it: a code for a state, a token for a code."""
    given: dict[str, str] = {}

    class Authorize(RequestHandler):
        def get(self) -> None:
            assert self.get_argument("response_type") == "code"
            code = f"code {len(given)}"
            given[code] = who[-1]
            self.redirect(self.get_argument("redirect_uri") + "?" + urlencode({"code": code, "state": self.get_argument("state")}))

    class Token(RequestHandler):
        def post(self) -> None:
            user = given.pop(self.get_body_argument("code"), None)
            if user is None or self.get_body_argument("client_secret") != SECRET:
                self.set_status(401)
                self.write({"error": "invalid_grant"})
                return
            token = ".".join([_part({"alg": "none"}), _part({"email": user, "sub": user}), ""])
            self.write({"access_token": token, "id_token": token, "token_type": "Bearer"})

    with running([("/authorize", Authorize), ("/token", Token)]) as address:
        yield address


@contextmanager
def proxy_to(backend: list[str]) -> Iterator[str]:
    """A proxy that hands everything, sockets too, to the last of `backend`, and says by which protocol it was asked."""

    class Forward(RequestHandler):
        async def get(self) -> None:
            headers = {**self.request.headers, "X-Forwarded-Proto": "https", "X-Real-Ip": "192.0.2.7"}
            asked = HTTPRequest(backend[-1] + self.request.uri, self.request.method, headers, follow_redirects=False, body=self.request.body or None, request_timeout=60)
            answer = await AsyncHTTPClient().fetch(asked, raise_error=False)
            self.set_status(answer.code)
            self.clear_header("Content-Type")
            for name, value in answer.headers.get_all():
                if name not in ("Content-Length", "Transfer-Encoding", "Connection", "Content-Encoding"):
                    self.add_header(name, value)
            self.finish(answer.body)

        post = get

    class ForwardSocket(WebSocketHandler):
        def check_origin(self, origin: str) -> bool:
            return True

        def select_subprotocol(self, subprotocols: list[str]) -> str:
            return subprotocols[0]

        async def prepare(self) -> None:
            headers = {name: self.request.headers[name] for name in ("Origin", "Cookie") if name in self.request.headers}
            told = [part.strip() for part in self.request.headers["Sec-WebSocket-Protocol"].split(",")]
            asked = HTTPRequest(backend[-1].replace("http", "ws", 1) + self.request.uri, headers=headers)
            self.there = await websocket_connect(asked, subprotocols=told, on_message_callback=self.back, max_message_size=2**26)

        def back(self, message: str | bytes | None) -> None:
            if message is not None and self.ws_connection:
                self.write_message(message, binary=isinstance(message, bytes))

        def on_message(self, message: str | bytes) -> None:
            self.there.write_message(message, binary=isinstance(message, bytes))

        def on_close(self) -> None:
            self.there.close()

    with running([(r".*/ws", ForwardSocket), (r".*", Forward)]) as address:
        yield address
