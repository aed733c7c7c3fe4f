"""The views of the pages as examples: the code that a page gives to copy, run on the study of the demo. `python -m builder.seen STUDY`."""

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from builder.notebooks import ROOT
from builder.running import CACHE, code_below, draw_output, draw_picture

Seen = dict[str, dict[str, Any]]  # view or picture -> `code` and `outputs`


def _kept(study: Path) -> Path:
    """Where the examples of a study are kept: a name for its tables and the code that shows them."""
    tables = json.loads((study / "manifest.json").read_text(encoding="utf-8"))["tables"]
    modules = [ROOT / "motkit" / f"{name}.py" for name in sorted(code_below("app"))]
    parts = [str(sorted(table["file"] for table in tables.values())), *(path.read_text(encoding="utf-8") for path in (*modules, Path(__file__)))]
    return CACHE / f"views.{hashlib.sha256(''.join(parts).encode()).hexdigest()[:20]}.json"


def show_look(look: Any, study: Any) -> dict[str, Any]:
    """One view of a page: its code, its sentence, its picture or table."""
    from motkit.page_parts import code_of, look_at

    view = look_at(look, study)
    drawn = look.draw(view) if look.draw and not view.empty else None
    picture = {"html": drawn} if isinstance(drawn, str) else draw_picture(drawn)
    said = {"text": f"{view.sentence}\n\n{view.footing}"}
    whole = draw_output({"text/html": view._repr_html_()})
    shown = [said, picture] if picture else [whole]
    return {"code": code_of(look, study), "outputs": [*filter(None, shown)]}


def work(study: Path) -> None:
    """What the worker process does: show every view of every page."""
    from motkit.app import PAGES
    from motkit.study import open_study

    opened, made = open_study(study), Seen()
    for plan in PAGES:
        for look in filter(None, (plan.lead, *plan.looks)):
            if look.name not in made:
                made[look.name] = show_look(look, opened)
                made |= {look.draw.__name__: made[look.name]} if look.draw else {}
    for old in CACHE.glob("views.*.json"):
        old.unlink()
    _kept(study).write_text(json.dumps(made), encoding="utf-8")


@cache
def seen(study: Path | None) -> Seen:
    """Every view and picture of the pages with its code and what it shows; none for a small site."""
    if study is None:
        return {}
    if not _kept(study).exists():
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'docs'}", "MPLBACKEND": "agg"}
        subprocess.run([sys.executable, "-m", "builder.seen", str(study)], env=environment, check=True)
    return json.loads(_kept(study).read_text(encoding="utf-8"))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
