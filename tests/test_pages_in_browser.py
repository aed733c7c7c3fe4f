"""The served pages in Chromium: titles, addresses, choices, files, dark and phone, and what a reader meets when it breaks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from made_study import make_study
from PIL import Image
from served_study import save_study, serve_study

from motkit import views
from motkit.access import hash_password
from motkit.study import Study

pytestmark = pytest.mark.browser
DARK = "getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'"
PAGES = ("Overview", "Onboarding", "Engagement")


@pytest.fixture(scope="module")
def folder(small_demo: Study) -> Path:
    """The demo study, which has the tables of all pages."""
    return small_demo.path


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serve_study(folder) as found:
        yield found


@pytest.fixture
def expect():
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    return expect


def drawn(page, name: str):
    """The picture of a view, once it is drawn."""
    return page.locator(f'[data-drawn="{name}"]')


def test_each_page_opens_by_its_link_and_by_its_address_with_its_title(address: str, quiet_page, expect) -> None:
    quiet_page.goto(f"{address}/?page=engagement")
    expect(quiet_page.get_by_role("heading", name="Engagement", exact=True, level=1).last).to_be_visible()
    for title in PAGES:
        quiet_page.get_by_role("navigation", name="Pages").get_by_role("link", name=title, exact=True).click()
        expect(quiet_page.get_by_role("heading", name=title, exact=True, level=1).last).to_be_visible()
        expect(quiet_page).to_have_title(re.compile(f"^{title} · demo-study$"))
        expect(quiet_page).to_have_url(re.compile(f"page={title.lower()}"))
    quiet_page.go_back()
    expect(quiet_page).to_have_title(re.compile("^Onboarding · "))
    expect(quiet_page.get_by_role("heading", name="Onboarding", exact=True, level=1).last).to_be_visible()


def test_a_view_of_the_overview_leads_to_the_page_that_tells_more(address: str, quiet_page, expect) -> None:
    quiet_page.goto(f"{address}/?channels=web")
    expect(drawn(quiet_page, "moments_now")).to_be_visible()
    for title in ("Which promises slip", "Who is at risk", "What changed since last time"):
        expect(quiet_page.get_by_role("heading", name=title)).to_be_visible()
    more = quiet_page.get_by_role("link", name="More: Moments of truth").first
    assert more.get_attribute("href") == "?channels=web&page=moments"
    more.click()
    expect(quiet_page).to_have_url(re.compile("page=moments&channels=web"))
    expect(quiet_page.get_by_role("heading", name="Moments of truth", exact=True, level=1).last).to_be_visible()


def test_promises_and_early_warning_open_with_their_pictures(address: str, quiet_page, expect) -> None:
    for page, title, names in (("promises", "Promises", ("promises_kept", "complaints_kept", "reactions_in_time")), ("watch", "Early warning", ("changes_flagged", "watched_chart"))):
        quiet_page.goto(f"{address}/?page={page}")
        expect(quiet_page.get_by_role("heading", name=title, exact=True, level=1).last).to_be_visible()
        for name in names:
            drawn(quiet_page, name).scroll_into_view_if_needed(timeout=30_000)
            expect(drawn(quiet_page, name)).to_be_visible()


def test_a_choice_changes_picture_and_address_and_holds_on_the_next_page(address: str, quiet_page, expect, folder: Path) -> None:
    from motkit import open_study

    quiet_page.goto(address)
    expect(drawn(quiet_page, "sessions_by_week")).to_be_visible()
    quiet_page.get_by_role("combobox").first.click()
    quiet_page.get_by_role("option", name="app", exact=True).or_(quiet_page.get_by_role("menuitem", name="app", exact=True)).first.click()
    chosen = views.sessions_by_week(open_study(folder), ["app"])
    expect(quiet_page.get_by_text(chosen.sentence)).to_be_visible()
    expect(quiet_page).to_have_url(re.compile("channels=app"))
    expect(drawn(quiet_page, "sessions_by_week")).to_be_visible()
    quiet_page.keyboard.press("Escape")
    quiet_page.get_by_role("navigation", name="Pages").get_by_role("link", name="Engagement").click()
    expect(quiet_page).to_have_url(re.compile("page=engagement&channels=app"))
    expect(quiet_page.get_by_text(chosen.sentence).last).to_be_visible()
    quiet_page.reload()
    expect(quiet_page.get_by_text(chosen.sentence)).to_be_visible()


TAKE_AWAY = """() => {
  const draw = Bokeh.embed.embed_item, taken = [];
  window.taken = taken;
  Bokeh.embed.embed_item = (item, place) => {
    const drawing = draw(item, place);
    if (taken.length < 2) { taken.push(place); place.remove(); }
    return drawing;
  };
}"""


def test_a_picture_whose_place_is_taken_away_while_it_is_drawn_is_drawn_again_without_an_error(address: str, quiet_page, expect) -> None:
    quiet_page.goto(address)
    expect(drawn(quiet_page, "sessions_by_week")).to_be_visible()
    quiet_page.evaluate(TAKE_AWAY)
    quiet_page.get_by_role("navigation", name="Pages").get_by_role("link", name="Engagement").click()
    quiet_page.wait_for_function("taken.length === 2", timeout=30_000)
    for name in ("engagement_levels", "engagement_distribution"):
        expect(drawn(quiet_page, name)).to_be_visible()


def test_table_and_picture_can_be_saved_and_the_code_shown(address: str, quiet_page, expect, tmp_path: Path, folder: Path) -> None:
    from motkit import open_study

    quiet_page.goto(f"{address}/?channels=web")
    view = quiet_page.locator("section.view").filter(has=quiet_page.get_by_role("heading", name="Sessions by week"))
    expect(drawn(quiet_page, "sessions_by_week")).to_be_visible()
    view.get_by_text("Save and copy").click()
    saved = {}
    for kind in ("CSV", "Parquet", "PNG", "SVG"):
        with quiet_page.expect_download() as waiting:
            view.get_by_role("button", name=re.compile(f"as {kind}")).click()
        saved[kind] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(saved[kind])
    table = views.sessions_by_week(open_study(folder), ["web"]).table
    assert pl.read_parquet(saved["Parquet"]).equals(table)
    assert pl.read_csv(saved["CSV"]).height == table.height
    assert saved["PNG"].read_bytes().startswith(b"\x89PNG")
    assert saved["SVG"].read_text().startswith("<svg")
    view.get_by_role("button", name="Copy the call").click()
    expect(view.get_by_text("sessions_by_week(open_study(\"demo-study\"), channels=['web'])")).to_be_visible()


def test_a_picture_saved_in_the_dark_is_as_it_is_seen(address: str, quiet_page, tmp_path: Path, expect) -> None:
    quiet_page.emulate_media(color_scheme="dark")
    quiet_page.goto(f"{address}/?channels=web")
    expect(drawn(quiet_page, "sessions_by_week")).to_be_visible()
    view = quiet_page.locator("section.view").filter(has=quiet_page.get_by_role("heading", name="Sessions by week"))
    view.get_by_text("Save and copy").click()
    with quiet_page.expect_download() as waiting:
        view.get_by_role("button", name=re.compile("as PNG")).click()
    waiting.value.save_as(tmp_path / "dark.png")
    colours = {colour: many for many, colour in Image.open(tmp_path / "dark.png").convert("RGB").getcolors(1 << 24)}
    assert max(colours, key=colours.__getitem__) == (18, 18, 18)
    blues = [(red, blue) for red, _, blue in colours if blue > red + 100]
    assert max(blue for _, blue in blues) > 200, "the line is the dark blue of a white page"


def test_on_a_phone_that_prefers_dark_the_page_fits_is_dark_and_its_folded_menu_works(address: str, quiet_page, expect) -> None:
    quiet_page.emulate_media(color_scheme="dark")
    quiet_page.set_viewport_size({"width": 390, "height": 844})
    quiet_page.goto(address)
    expect(drawn(quiet_page, "loyalty_by_day")).to_be_attached()
    quiet_page.wait_for_function(DARK, timeout=30_000)
    assert quiet_page.evaluate("document.documentElement.scrollWidth") <= 390
    menu = quiet_page.get_by_role("navigation", name="Pages")
    expect(menu).not_to_be_visible()
    quiet_page.get_by_role("button", name="Open drawer").click()
    expect(menu).to_be_visible()
    menu.get_by_role("link", name="Onboarding").focus()
    quiet_page.keyboard.press("Enter")
    expect(menu).not_to_be_visible()
    expect(drawn(quiet_page, "threshold_days")).to_be_visible()


@pytest.fixture(scope="module")
def guarded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo study behind a login."""
    access = tmp_path_factory.mktemp("access") / "access.toml"
    users = {"gil": "agent", "anna": "analyst"}
    access.write_text("".join(f'[users.{name}]\nrole = "{role}"\npassword = "{hash_password(f"four words for {name}")}"\n' for name, role in users.items()))
    with serve_study(folder, "--auth", str(access)) as found:
        yield found


def log_in(page, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"four words for {name}")
    page.get_by_role("button", name="Log in").click()


def test_the_customer_card_is_not_there_without_a_login_or_for_another_role(address: str, guarded: str, quiet_page, expect) -> None:
    menu = quiet_page.get_by_role("navigation", name="Pages")
    quiet_page.goto(f"{address}/?page=card")
    expect(menu.get_by_role("link", name="Overview")).to_be_visible()
    expect(menu.get_by_role("link", name="Customer card")).to_have_count(0)
    quiet_page.goto(f"{guarded}/?page=card")
    expect(quiet_page.get_by_text("Log in to see this study.")).to_be_visible()
    log_in(quiet_page, f"{guarded}/?page=card", "anna")
    expect(quiet_page.get_by_role("heading", name="Overview", exact=True, level=1).last).to_be_visible()
    expect(menu.get_by_role("link", name="Customer card")).to_have_count(0)
    assert quiet_page.get_by_label("Customer number").count() == 0


def test_an_agent_reads_a_card_whose_number_stays_out_of_the_address(guarded: str, quiet_page, expect, folder: Path) -> None:
    from motkit import open_study

    who = open_study(folder).table("decision_candidates").filter("allowed")["customer_id"][0]
    log_in(quiet_page, f"{guarded}/?page=card", "gil")
    quiet_page.get_by_label("Customer number").fill(who)
    quiet_page.get_by_label("Customer number").press("Enter")
    for heading in (f"Customer {who}", "Next moves", "Contactable now", "Promises open or broken", "Needs", "Service so far", "Last interactions", "Not allowed now"):
        expect(quiet_page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    expect(quiet_page.get_by_text("95% interval").last).to_be_visible()
    assert who not in quiet_page.url
    quiet_page.get_by_label("Customer number").fill("nobody")
    quiet_page.get_by_label("Customer number").press("Enter")
    expect(quiet_page.get_by_text("Nothing is known of this customer")).to_be_visible()


def test_a_new_run_reaches_an_open_page_and_a_broken_study_is_told(quiet_page, expect, tmp_path: Path) -> None:
    from dataclasses import replace

    study = make_study()
    with serve_study(save_study(tmp_path)) as address:
        quiet_page.goto(f"{address}/?channels=web")
        expect(quiet_page.get_by_text("in 26 weeks").first).to_be_visible()
        short = replace(study, frames=study.frames | {"sessions_weekly": study.table("sessions_weekly").head(8)})
        save_study(tmp_path, short)
        expect(quiet_page.get_by_text("in 2 weeks").first).to_be_visible()
        expect(quiet_page).to_have_url(re.compile("channels=web"))
        (tmp_path / "sessions_weekly.parquet").write_bytes(b"PAR1 broken")
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"made_at": "later"}))
        expect(quiet_page.get_by_text("Run the study again").first).to_be_visible()
        assert str(tmp_path) not in quiet_page.content()
        expect(drawn(quiet_page, "loyalty_by_day")).to_be_attached()
        (tmp_path / "manifest.json").unlink()
        quiet_page.goto(address)
        expect(quiet_page.get_by_text("This study cannot be shown")).to_be_visible()
        assert "Traceback" not in quiet_page.content()
