"""Complaints and reactions as tables of a study and as views: against a plain count, with small groups hidden and faults told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from light_study import run_stages
from made_study import MadeStudy

from motkit import complaint_views, promise_plots, watch_views
from motkit.schema import EVENTS
from motkit.settings import ComplaintSettings, OnboardingSettings, Settings
from motkit.study import Study

START = datetime(2026, 1, 5, tzinfo=UTC)
ENDS = OnboardingSettings(start=("sign_up",), milestone=("onboarded",), churn=("closed",), lost=("opted_out",))
COMPLAINTS = ComplaintSettings(
    complaint=("complaint",), answered=("reply",), resolved=("solved",), transfers=("handed_on",), holds=("hold",), moments=("failed", "complaint"), reactions=("reply", "solved"), react_hours=48
)
MANIFEST = {"as_of": "2026-06-30", "settings": {"study": {"min_cell": 11, "confidence": 0.95}, "complaints": {"reactions": ["reply"]}}}


def draw_log(customers: int = 40) -> pl.DataFrame:
    """Everybody complains once on day 1; every second has a reply after 12 hours, every fourth a solution on day 3, one in eight is handed on."""
    rows: list[tuple[str, float, str, float | None]] = []
    for number in range(customers):
        who = f"c{number:03d}"
        rows += [(who, 0, "visit", None), (who, 1, "complaint", None), (who, 1.1, "hold", 120.0), (who, 100, "visit", None)]
        rows += [(who, 1.5, "reply", None)] if number % 2 == 0 else []
        rows += [(who, 3, "solved", None)] if number % 4 == 0 else []
        rows += [(who, 2, "handed_on", None)] if number % 8 == 0 else []
        rows += [(who, 20, "failed", None)] if number < 30 else []
        rows += [(who, 90, "closed", None), (who, 1, "opted_out", None)][:1] if number % 5 == 0 else []
    columns: dict[str, Any] = {"customer_id": [row[0] for row in rows], "timestamp": [START + timedelta(days=row[1]) for row in rows], "event": [row[2] for row in rows]}
    return pl.DataFrame(columns | {"channel": "phone", "value": None, "duration_s": [row[3] for row in rows]}, schema=EVENTS)


def study_of(settings: ComplaintSettings, out: Path, names: frozenset[str] = frozenset({"record", "complaints"})) -> Study:
    ends = OnboardingSettings(churn=("closed",))
    return run_stages(set(names), Settings(onboarding=ends, complaints=settings), draw_log(), out)


def test_the_tables_are_what_a_plain_count_says(tmp_path: Path) -> None:
    study = study_of(COMPLAINTS, tmp_path)
    kept = dict(study.table("complaints").select("promise", "kept").rows())
    assert kept == pytest.approx({"answered": 0.5, "resolved": 0.25, "resolved_at_first_contact": 0.125})
    assert study.table("complaints")["customers"].to_list() == [40, 40, 40]
    way = {row["measure"]: row["value"] for row in study.table("complaint_way").iter_rows(named=True)}
    assert way == pytest.approx({"repeats": 0.0, "transfers": 0.125, "holds": 120.0})
    reactions = {row["moment"]: (row["n"], row["kept"], row["hours_half"]) for row in study.table("reaction_latency").iter_rows(named=True)}
    assert reactions["failed"] == (30, 0.0, None)
    assert reactions["complaint"][:2] == (40, pytest.approx(0.5))
    assert study.table("complaint_loyalty")["promise"].to_list() == ["answered", "resolved", "resolved_at_first_contact"]


def test_nothing_named_gives_no_table_and_half_a_question_is_told(tmp_path: Path) -> None:
    assert "complaints" not in study_of(ComplaintSettings(), tmp_path / "none").tables
    half = study_of(ComplaintSettings(complaint=("complaint",)), tmp_path / "half")
    assert "Name events in `answered`" in half.manifest["stages"]["complaints"]["problem"]
    unknown = study_of(ComplaintSettings(moments=("faild",), reactions=("reply",)), tmp_path / "unknown")
    assert "no event is called 'faild'" in unknown.manifest["stages"]["complaints"]["problem"]


def judged(key: str, name: str, customers: int, **more: Any) -> dict[str, Any]:
    row = {key: name, "says": "", "n": 200, "kept": 0.6, "ci_low": 0.5, "ci_high": 0.7, "still_open": 4, "broken": 70, "left": 3, "lost": 3, "customers": customers}
    return row | {"within_hours": 168.0, "hours_half": 30.0, "hours_most": None} | more


def made_study(customers: int) -> MadeStudy:
    """A study with complaints of so many customers."""
    cost = {"promise": "resolved", "horizon_days": 90.0, "n_kept": customers, "n_broken": 60, "left": 40, "risk_difference": 0.0, "ci_low": -0.01, "ci_high": 0.01, "verdict": "safe to scale back", "margin": 0.02}
    way = {"measure": "repeats", "n": 200, "value": 0.1, "ci_low": 0.05, "ci_high": 0.2, "unit": "share within 7 days"}
    quarters = [{"quarter": f"2026 quarter {n}", "n": 100.0, "events": events, "day": 14.0, "ci_low": 12.0, "ci_high": 16.0, "hazard_ratio": 2.0, "moved": True, "common_from": None, "common_to": None} for n, events in ((1, 40.0), (2, 30.0), (3, 5.0))]
    frames = {
        "complaints": pl.DataFrame([judged("promise", name, customers) for name in ("answered", "resolved", "resolved_at_first_contact")]),
        "complaint_way": pl.DataFrame([way]), "complaint_loyalty": pl.DataFrame([cost]),
        "reaction_latency": pl.DataFrame([judged("moment", "failed", customers), judged("moment", "late", 5, kept=0.9)]),
        "threshold_quarters": pl.DataFrame(quarters),
    }  # fmt: skip
    return MadeStudy(frames, MANIFEST)


VIEWS = (complaint_views.complaints_kept, complaint_views.complaint_way, complaint_views.complaint_loyalty, complaint_views.reactions_in_time)


def test_views_say_how_many_and_how_sure_and_small_groups_are_hidden() -> None:
    for view in VIEWS:
        shown = view(made_study(50))
        assert not shown.empty
        assert "n = " in shown.footing
        assert "95% interval" in shown.footing
        assert view(made_study(4)).empty
        assert view(MadeStudy({}, MANIFEST)).empty
    hidden = complaint_views.reactions_in_time(made_study(50))
    assert hidden.table.filter(pl.col("moment") == "late").select("kept", "n", "broken").null_count().sum_horizontal().item() == 3
    assert "late" not in hidden.sentence
    assert "resolved" in complaint_views.complaint_loyalty(made_study(50)).footing.partition("interval:")[2]


def test_a_threshold_that_moved_is_said_to_have_and_a_quarter_of_few_who_left_is_hidden() -> None:
    view = watch_views.threshold_by_quarter(made_study(50))
    assert view.sentence.startswith("The threshold has moved")
    assert view.table["hidden"].to_list() == ["", "", "fewer than 11"]
    assert "quarter 3" not in view.sentence
    assert "n = 200 customers, 70 of whom left" in view.footing


def test_every_view_has_a_picture() -> None:
    import holoviews as hv

    drawn = ((complaint_views.complaints_kept, promise_plots.plot_promises_kept), (complaint_views.complaint_loyalty, promise_plots.plot_broken_promises))
    drawn += ((complaint_views.reactions_in_time, promise_plots.plot_promises_kept), (watch_views.threshold_by_quarter, promise_plots.plot_threshold_by_quarter))
    for view, draw in drawn:
        for study in (made_study(50), made_study(4), MadeStudy({}, MANIFEST)):
            assert hv.render(draw(view(study)), backend="bokeh") is not None
