"""Who may open the pages: the access file, the login as it is served, and what each role sees."""

import http.client
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from apart import run_apart
from made_study import make_study
from served_study import save_study, serve_study
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from motkit.access import Tries, check_password, hash_password, read_access
from motkit.apps import _prefix
from motkit.errors import SettingError

PASSWORDS = {"anna": "four words for anna", "vera": "four words for vera"}


@pytest.fixture(scope="module")
def access_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("access") / "access.toml"
    roles = {"anna": "analyst", "vera": "viewer"}
    file.write_text("".join(f'[users.{name}]\nrole = "{role}"\npassword = "{hash_password(PASSWORDS[name])}"\n' for name, role in roles.items()))
    return file


@pytest.fixture(scope="module")
def address(access_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The made-up study behind a login, under a prefix."""
    folder = tmp_path_factory.mktemp("guarded") / "made-study"
    folder.mkdir()
    with serve_study(save_study(folder), "--auth", str(access_file), "--prefix", "studies/june") as found:
        yield found


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: list[tuple[str, str]]
    text: str

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def ask(address: str, path: str, cookie: str = "", **form: str) -> Answer:
    """One request, redirects not followed."""
    host, _, prefix = address.removeprefix("http://").partition("/")
    headers = {"Cookie": cookie} if cookie else {}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        path = f"/{prefix}{path}" if prefix else path
        connection.request("POST" if form else "GET", path, urllib.parse.urlencode(form) if form else None, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read().decode())


def log_in(address: str, user: str) -> str:
    answer = ask(address, "/login", username=user, password=PASSWORDS[user])
    assert answer.status == 302
    return "; ".join(value.split(";")[0] for value in answer.header("Set-Cookie"))


def test_nobody_gets_a_page_without_a_login(address: str) -> None:
    for path in ("/", "/?page=overview", "/metadata"):
        answer = ask(address, path)
        assert answer.status in (302, 403), path
        assert "Sessions by week" not in answer.text
    assert ask(address, "/", cookie="user=anna").status == 302
    forged = '2|1:0|10:1795576701|4:user|8:YW5uYQ==|306b605d3604bf96c2246d4b1358ca143cb217a15185f887cf56464e4e05671c'
    assert ask(address, "/", cookie=f'user="{forged}"').status == 302
    assert ask(address, "/health").status == 200


async def _answer(address: str, cookie: str, token: str) -> int:
    """The status for a connection to the session of a token: 101 when it is let in."""
    headers = {"Origin": f"http://{urllib.parse.urlparse(address).netloc}"} | ({"Cookie": cookie} if cookie else {})
    try:
        connection = await websocket_connect(HTTPRequest(address.replace("http", "ws", 1) + "/ws", headers=headers), subprotocols=["bokeh", token])
    except HTTPClientError as error:
        return error.code
    connection.close()
    while await connection.read_message() is not None:
        pass  # until the server hung up, too
    return 101


def test_a_connection_needs_a_login_and_reaches_its_own_session_only(address: str) -> None:
    mine = log_in(address, "anna")
    token = re.search(r'"token":"([^"]+)"', ask(address, "/", cookie=mine).text)[1]
    assert [run_apart(_answer(address, cookie, token)) for cookie in ("", log_in(address, "vera"), mine)] == [403, 403, 101]


def test_pages_cannot_be_embedded_in_other_sites(address: str) -> None:
    for cookie in ("", log_in(address, "anna")):
        assert ask(address, "/autoload.js?bokeh-autoload-element=1", cookie).status == 404


def test_a_login_leads_back_to_this_server_only(address: str) -> None:
    prefix = urllib.parse.urlparse(address).path
    for wanted, given in ((f"{prefix}/?page=onboarding", f"{prefix}/?page=onboarding"), ("//evil.example/", f"{prefix}/"), ("https://evil.example", f"{prefix}/"), ("/\\evil.example", f"{prefix}/"), ("/other", f"{prefix}/")):
        answer = ask(address, "/login", username="vera", password=PASSWORDS["vera"], next=wanted)
        assert answer.header("Location") == [given]
    cookies = answer.header("Set-Cookie")
    assert cookies
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert f"Path={prefix}/" in cookie


def test_the_login_page_is_local_escapes_and_does_not_tell_whether_a_name_is_known(address: str) -> None:
    page = ask(address, "/login").text
    assert not re.search(r"https?://|cdn|<script", page)
    known = ask(address, "/login", username="vera", password="wrong")
    unknown = ask(address, "/login", username="<b>nobody</b>", password="wrong")
    assert known.status == unknown.status == 401
    text = unknown.text
    assert "<b>nobody" not in text
    assert "do not belong together" in text
    assert "do not belong together" in known.text


def test_after_five_wrong_tries_even_the_right_password_has_to_wait(address: str) -> None:
    for _ in range(5):
        ask(address, "/login", username="guessed", password="wrong")
    answer = ask(address, "/login", username="guessed", password="wrong")
    assert answer.status == 429
    assert "Wait a minute" in answer.text
    assert log_in(address, "anna")


def test_who_is_logged_in_gets_the_pages_and_can_log_out(address: str) -> None:
    cookie = log_in(address, "vera")
    assert ask(address, "/", cookie=cookie).status == 200
    answer = ask(address, "/logout", cookie=cookie)
    assert any(value.startswith('user=""') for value in answer.header("Set-Cookie"))


@pytest.mark.browser
def test_the_analyst_may_ask_for_customers_and_the_viewer_is_told_nothing(address: str, quiet_page) -> None:
    from playwright.sync_api import expect

    for user in ("vera", "anna"):
        quiet_page.context.clear_cookies()
        quiet_page.goto(f"{address}/?page=engagement")
        quiet_page.get_by_label("Name").fill(user)
        quiet_page.get_by_label("Password").fill(PASSWORDS[user])
        quiet_page.get_by_role("button", name="Log in").click()
        view = quiet_page.locator("section.view").first
        expect(view.locator("[data-drawn=engagement_levels]")).to_be_visible(timeout=30_000)
        customers = view.get_by_text("Customers", exact=True)
        if user == "vera":
            expect(customers).not_to_be_visible()
        else:
            expect(quiet_page.get_by_text("Logged in as anna (analyst)")).to_be_visible()
            customers.click()
            view.get_by_role("combobox", name="Group").select_option("high")
            view.get_by_role("button", name="Show the customers of this group").click()
            high = make_study().table("engagement").filter(level="high").sort("score", descending=True)
            expect(view.get_by_text(f"{high.height} customers")).to_be_visible(timeout=30_000)
            expect(view.get_by_text(high["customer_id"][0], exact=True)).to_be_visible()


def test_every_fault_of_an_access_file_is_told_at_once_and_no_secret_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    file.write_text('extra = 1\nothers = "king"\n[users.anna]\nrole = "boss"\npassword = "open sesame"\n[oauth]\nprovider = "azure"\n')
    with pytest.raises(SettingError) as told:
        read_access(file)
    text = str(told.value)
    for fault in ("'extra' is not known", "others = 'king'", "'anna' has the role 'boss'", "the password of 'anna' is not a hash", "either [users] or [oauth]"):
        assert fault in text
    assert "sesame" not in text


@pytest.mark.parametrize("text", ["", "[roles]\nanna = 'viewer'\n", "[users.anna\n"])
def test_a_file_that_lets_nobody_in_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "access.toml").write_text(text)
    with pytest.raises(SettingError, match="motkit password"):
        read_access(tmp_path / "access.toml")


def test_a_company_login_gives_the_named_roles_and_refuses_others_unless_told(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    oauth = '[oauth]\nprovider = "azure"\nkey = "id"\nredirect_uri = "https://x.example/"\n[roles]\n"anna@x.example" = "agent"\n'
    file.write_text(oauth)
    assert [read_access(file).role_of(user) for user in ("anna@x.example", "other@x.example", None)] == ["agent", "", ""]
    file.write_text('others = "viewer"\n' + oauth)
    assert read_access(file).role_of("other@x.example") == "viewer"


def test_a_hash_is_salted_and_checks_only_its_own_password() -> None:
    one, other = hash_password("correct horse battery"), hash_password("correct horse battery")
    assert one != other
    assert check_password("correct horse battery", one)
    assert not check_password("correct horse battery ", one)


def test_only_the_last_names_are_counted() -> None:
    tries = Tries()
    for number in range(10_050):
        tries.note(f"name {number}", False, 0.0)
    assert len(tries._wrong) == 10_000


@pytest.mark.parametrize(("text", "prefix"), [("", ""), ("/", ""), ("june", "/june"), ("/studies/june/", "/studies/june")])
def test_a_prefix_is_a_path(text: str, prefix: str) -> None:
    assert _prefix(text) == prefix


@pytest.mark.parametrize("text", ["//evil.example", "a b", "june?x", "https://x", "a//b"])
def test_what_is_no_path_cannot_be_a_prefix(text: str) -> None:
    with pytest.raises(SettingError, match="--prefix /studies/june"):
        _prefix(text)


def test_several_processes_answer_at_one_port_and_end_together(tmp_path: Path) -> None:
    with serve_study(save_study(tmp_path), "--num-procs", "2") as address:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(address, "/").status)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 6
    host, port = address.removeprefix("http://").split(":")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=2).close()
