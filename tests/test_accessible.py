"""The served pages by keyboard and by screen reader, in Chromium; customers behind a bar for those who may; and the caps of a policy."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_study import serve_study

from motkit import decision_views, open_study
from motkit.access import hash_password
from motkit.plots import NEUTRAL
from motkit.showing import say_name
from motkit.study import Study

ROLES = {"vera": "viewer", "anna": "analyst"}
_NODES = """const nodes = (root) => [...root.querySelectorAll("*")].flatMap((node) => [node, ...(node.shadowRoot ? nodes(node.shadowRoot) : [])]);
const seen = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length > 0;
const drawn = (node) => node.dataset.drawn || !(parseInt(node.style.minHeight) > 0) || node.querySelector(":scope > :not(.place)");
"""
_DRAWN = _NODES + "const pictures = nodes(document).filter((node) => node.matches('.picture') && seen(node)); return pictures.length > 2 && pictures.every(drawn);"
_FAULTS = _NODES + """
const faults = [], here = nodes(document).filter(seen);
const name = (node) => (node.getAttribute("aria-label") || node.textContent || node.title || "").trim() || (node.labels ?? []).length || node.getAttribute("aria-labelledby");
if (!document.documentElement.lang) faults.push("no language");
const heads = here.filter((node) => /^H[1-6]$/.test(node.tagName) && !node.getAttribute("role"));
if (heads.filter((node) => node.tagName === "H1").length !== 1) faults.push("not one h1");
heads.forEach((node) => { if (!node.textContent.trim()) faults.push(`an empty heading ${node.tagName}`); });
if (heads.some((node) => +node.tagName[1] > 2)) faults.push("a level of headings is left out");
for (const [role, tag] of [["navigation", "NAV"], ["main", "MAIN"], ["banner", "HEADER"]])
  if (!here.some((node) => node.tagName === tag || node.getAttribute("role") === role)) faults.push(`no landmark ${role}`);
for (const node of here) {
  const role = node.getAttribute("role"), label = node.getAttribute("aria-label") ?? "";
  if ((node.matches("button, a, select, summary, input") || ["combobox", "progressbar", "img", "slider"].includes(role)) && !node.closest('[aria-hidden="true"]') && !name(node)) faults.push(`no name: ${node.outerHTML.slice(0, 90)}`);
  if (role === "img" && !/^.+\\. \\S.+/.test(label)) faults.push(`a picture without a sentence: ${label}`);
  if (node.matches("div[aria-label], span[aria-label]") && !role && node.tabIndex < 0) faults.push(`a name on what has no role: ${label}`);
  if (role === "listbox" && [...node.children].some((item) => item.getAttribute("role") !== "option")) faults.push("a list of choices whose items are none");
}
return faults;"""
_FOCUS = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  return [node.tagName, (node.getAttribute("aria-label") || node.textContent || "").trim(), node.getAttribute("role") ?? "", getComputedStyle(node).outlineStyle];
}"""


@pytest.fixture(scope="module")
def folder(small_demo: Study) -> Path:
    return small_demo.path


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    access = tmp_path_factory.mktemp("access") / "access.toml"
    access.write_text("".join(f'[users.{name}]\nrole = "{role}"\npassword = "{hash_password(f"four words for {name}")}"\n' for name, role in ROLES.items()))
    with serve_study(folder, "--auth", str(access)) as found:
        yield found


def enter(page, address: str, name: str, query: str) -> None:
    page.goto(f"{address}/?page={query}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"four words for {name}")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_function(f"() => {{ {_DRAWN} }}", timeout=60_000)


def faults_of(page) -> list[str]:
    return page.evaluate(f"() => {{ {_FAULTS} }}")


@pytest.mark.browser
def test_a_page_is_told_whole_to_a_screen_reader_and_reached_by_keyboard(address: str, quiet_page) -> None:
    enter(quiet_page, address, "vera", "overview")
    assert faults_of(quiet_page) == []
    stops = []
    for _ in range(34):
        quiet_page.keyboard.press("Tab")
        stops.append(quiet_page.evaluate(_FOCUS))
    assert [role for tag, name, role, _ in stops if tag == "DIV"] == ["combobox", "combobox"]  # no picture stops the keyboard
    order = [(tag, name) for tag, name, _, _ in stops]
    assert order.index(("A", "Journey")) < next(n for n, stop in enumerate(stops) if stop[2] == "combobox") < order.index(("SUMMARY", "Numbers"))
    assert all(outline != "none" for tag, _, _, outline in stops if tag in ("A", "SUMMARY", "BUTTON"))
    quiet_page.get_by_role("combobox", name="Channels").press("Enter")
    quiet_page.get_by_role("option").first.wait_for()
    assert faults_of(quiet_page) == []
    quiet_page.evaluate("() => { document.documentElement.lang = ''; }")
    assert faults_of(quiet_page) == ["no language"]


def _light(colour: str, turned: bool = False) -> float:
    parts = [abs(255 * turned - int(colour[place : place + 2], 16)) / 255 for place in (1, 3, 5)]
    return sum(weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4) for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def test_the_grey_of_pictures_can_be_read_on_white_and_turned_on_black() -> None:
    from motkit.sections import read_asset

    assert ".view.dark .picture[data-drawn] { filter: invert(1) hue-rotate(180deg);" in read_asset("section.css")  # a grey has no hue to rotate
    contrasts = {turned: (max(_light(NEUTRAL, turned), _light(page)) + 0.05) / (min(_light(NEUTRAL, turned), _light(page)) + 0.05) for turned, page in ((False, "#ffffff"), (True, "#121212"))}
    assert min(contrasts.values()) >= 4.5, contrasts
    assert (_light(NEUTRAL) + 0.05) / (_light("#121212") + 0.05) < 4.5  # as it is, it could not


def click_the_bars(page, name: str) -> None:
    """Click from left to right where bars stand, until one answers."""
    picture = page.locator(f'[data-drawn="{name}"]')
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    for place in range(3, 20):
        page.mouse.click(box["x"] + box["width"] * place / 20, box["y"] + box["height"] * 0.78)
        page.wait_for_timeout(120)
        if page.locator("details[open]").filter(has=page.get_by_text("Customers", exact=True)).count():
            return


@pytest.mark.browser
def test_a_click_on_a_bar_gives_its_customers_to_an_analyst(address: str, quiet_page, expect, folder: Path) -> None:
    enter(quiet_page, address, "anna", "engagement")
    view = quiet_page.locator("section.view").filter(has=quiet_page.locator('[data-drawn="engagement_levels"]'))
    click_the_bars(quiet_page, "engagement_levels")
    expect(view.locator(".customers table")).to_be_visible()
    level = view.get_by_role("combobox", name="Group").input_value()
    there = set(open_study(folder).scan("engagement").filter(level=level).collect()["customer_id"])
    assert view.locator(".customers tbody td:first-child").first.inner_text() in there


@pytest.mark.browser
def test_a_click_on_a_bar_gives_nothing_to_a_viewer(address: str, quiet_page, folder: Path) -> None:
    enter(quiet_page, address, "vera", "engagement")
    click_the_bars(quiet_page, "engagement_levels")
    assert quiet_page.locator(".customers table").count() == 0
    names = set(open_study(folder).table("engagement")["customer_id"])
    assert not names & set(re.findall(r"[\w-]+", quiet_page.locator("body").inner_text()))


@pytest.fixture
def expect():
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    return expect


@pytest.mark.browser
def test_another_cap_moves_reach_value_and_pressure(address: str, quiet_page, expect, folder: Path) -> None:
    study = open_study(folder)
    views = {cap: decision_views.cap_choices(study, cap) for cap in decision_views.list_caps(study)}
    first, *others = views
    moved = {cap: views[cap].table.select("reach", "value", "pressure") for cap in others}
    chosen = next(cap for cap, table in moved.items() if all(table[name].n_unique() > 1 for name in table.columns))
    enter(quiet_page, address, "vera", "decisions")
    expect(quiet_page.get_by_text(views[first].sentence)).to_be_visible()
    quiet_page.get_by_role("combobox").first.click()
    quiet_page.get_by_role("option", name=say_name(chosen), exact=True).click()
    expect(quiet_page.get_by_text(views[chosen].sentence)).to_be_visible()
