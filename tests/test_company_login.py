"""A company's own login before the pages and a proxy in front of them, both for real: a small OpenID Connect server and a small proxy."""

import socket
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest
from fake_web import SECRET, company_login, proxy_to
from served_study import save_study, serve_study


def a_browser() -> OpenerDirector:
    """Follows redirects and keeps cookies."""
    return build_opener(HTTPCookieProcessor(CookieJar()))


def ask(browser: OpenerDirector, address: str) -> tuple[int, str, str]:
    """The status, where it led, and the text."""
    try:
        with browser.open(address, timeout=60) as answer:
            return answer.status, answer.url, answer.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.url, refused.read().decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_company_login_lets_in_who_has_a_role_and_nobody_else(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOTKIT_OAUTH_SECRET", SECRET)
    who, port = ["anna@example.org"], free_port()
    (tmp_path / "study").mkdir()
    with company_login(who) as login:
        access = tmp_path / "access.toml"
        access.write_text(
            f'[oauth]\nprovider = "generic"\nkey = "motkit"\nredirect_uri = "http://127.0.0.1:{port}/login"\n'
            f'[oauth.extra]\nAUTHORIZE_URL = "{login}/authorize"\nTOKEN_URL = "{login}/token"\n[roles]\n"anna@example.org" = "analyst"\n'
        )
        with serve_study(save_study(tmp_path / "study"), "--auth", str(access), "--port", str(port)) as address:
            browser = a_browser()
            for _ in range(2):  # the second time still logged in
                status, led, text = ask(browser, f"{address}/?page=engagement")
                assert status == 200
                assert led.startswith(address)
                assert '"token":"' in text
            who.append("stranger@example.org")
            for wanted in ("/", "/login?code=stolen&state=forged"):
                status, _, text = ask(a_browser(), address + wanted)
                assert status in (401, 403)
                assert '"token":"' not in text
                assert "Traceback" not in text


@pytest.mark.browser
def test_behind_a_proxy_under_a_path_pages_are_drawn_and_choices_work(tmp_path: Path, quiet_page) -> None:
    from playwright.sync_api import expect

    backend: list[str] = []
    with proxy_to(backend) as proxy:
        host = proxy.removeprefix("http://")
        with serve_study(save_study(tmp_path), "--prefix", "studies/june", "--behind-proxy", "--allow", host) as address:
            backend.append(address.removesuffix("/studies/june"))
            quiet_page.goto(f"{proxy}/studies/june/?page=overview")
            expect(quiet_page.locator("[data-drawn=sessions_by_week]")).to_be_visible(timeout=60_000)
            quiet_page.get_by_role("navigation", name="Pages").get_by_role("link", name="Engagement").click()
            expect(quiet_page.locator("[data-drawn=engagement_levels]")).to_be_visible(timeout=30_000)
            assert quiet_page.url.startswith(f"{proxy}/studies/june/?page=engagement")
