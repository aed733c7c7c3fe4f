"""Screenshots of every page of a study: wide and on a phone, light and dark, small enough to keep. `make shots` runs it."""

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from find_chromium import find_chromium
from PIL import Image
from playwright.sync_api import TimeoutError as LateError
from playwright.sync_api import sync_playwright

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")
LOOKS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}
TALLEST_PX = 7000
PASSWORD = "four words for pictures"  # of the access file that is made for the card alone
_HEIGHT = """() => {
  const find = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.classList.contains("main-content")) return node;
      const inside = node.shadowRoot && find(node.shadowRoot);
      if (inside) return inside;
    }
    return null;
  };
  return (find(document)?.scrollHeight ?? 900) + 72;
}"""
_DRAWN = """() => {
  let [wanted, drawn] = [0, 0];
  const count = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.classList.contains("picture") && node.checkVisibility() && parseInt(node.style.minHeight) > 0) {
        wanted += 1;
        drawn += node.dataset.drawn || node.querySelector(":scope > :not(.place)") ? 1 : 0;
      }
      if (node.shadowRoot) count(node.shadowRoot);
    }
  };
  count(document);
  return wanted > 0 && wanted === drawn;
}"""


def shrink(png: bytes) -> bytes:
    """The same picture with 256 colours, a third of the size."""
    picture, buffer = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def open_card(tab: Any, customer: str) -> None:
    """Log in as the agent of the made-up access file and ask for a customer's card."""
    tab.get_by_label("Name").fill("agent")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Log in").click()
    tab.get_by_label("Customer number").fill(customer)
    tab.get_by_label("Customer number").press("Enter")
    tab.get_by_role("heading", name=f"Customer {customer}", exact=True).wait_for(timeout=60_000)


def shoot(browser: Any, address: str, page: str, look: str, customer: str = "") -> bytes:
    """One page, whole, as a PNG; with a customer, the card behind a login."""
    width, scheme = LOOKS[look]
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab = context.new_page()
    tab.goto(f"{address}/?page={page}")
    try:
        if customer:
            open_card(tab, customer)
        else:
            tab.wait_for_function(_DRAWN, timeout=60_000)
    except LateError:  # a page without a picture is shown as it is
        print(f"{page}: not every picture was drawn in a minute", file=sys.stderr)
    tab.wait_for_timeout(600)
    tab.set_viewport_size({"width": width, "height": min(max(900, tab.evaluate(_HEIGHT)), TALLEST_PX)})
    tab.wait_for_timeout(900)
    png = tab.screenshot()
    context.close()
    return png


@contextmanager
def served(study: Path, *arguments: str) -> Iterator[str]:
    """The address of a study that is served."""
    command = [sys.executable, "-m", "motkit.apps", str(study), "--port", "0", "--quiet", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            yield server.stdout.readline().split(" at ")[1].split("/ ")[0]
        finally:
            os.killpg(server.pid, signal.SIGINT)


def main() -> None:
    """Serve a study, take the pictures, remove those of pages that are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/shots"))
    parser.add_argument("--pages", nargs="*", help="names of pages; left out, all of the study")
    chosen = parser.parse_args()
    from motkit.access import hash_password
    from motkit.app import PAGES
    from motkit.page_parts import pages_for
    from motkit.study import open_study

    study = open_study(chosen.study)
    there = [plan.name for plan in pages_for(PAGES, study, "agent")]
    chosen.out.mkdir(parents=True, exist_ok=True)
    for old in chosen.out.glob("*.png"):
        if old.stem.removesuffix("-dark").removesuffix("-phone").removesuffix("-light") not in there:
            old.unlink()
    customer = study.table("decision_candidates").filter("allowed")["customer_id"][0]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        access = Path(folder) / "access.toml"
        access.write_text(f'[users.agent]\nrole = "agent"\npassword = "{hash_password(PASSWORD)}"\n', encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        with served(chosen.study) as open_to_all, served(chosen.study, "--auth", str(access)) as guarded:
            for page in chosen.pages or there:
                for look in LOOKS:
                    file, card = chosen.out / f"{page}-{look}.png", page == "card"
                    file.write_bytes(shrink(shoot(browser, guarded if card else open_to_all, page, look, customer if card else "")))
                    print(f"{file}  {file.stat().st_size / 1000:.0f} kB", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
