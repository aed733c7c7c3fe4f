"""The decisions of a study: its stage on the demo, its views, their pictures, and the page."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from motkit import decision_plots, decision_views
from motkit.decision_page import DECISION_PAGE
from motkit.errors import SettingError
from motkit.page_parts import look_at
from motkit.settings import DecisionSettings, Settings
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study, run_demo, run_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_demo(tmp_path_factory.mktemp("decisions") / "study", customers=150, progress=False)


def test_the_demo_decides_with_fitted_scores_within_its_limits(study: Study) -> None:
    summary = study.table("decision_summary").row(0, named=True)
    candidates, actions = study.table("decision_candidates"), study.table("decision_actions")
    assert summary["basis"] == "fitted"
    assert summary["chosen"] == candidates["chosen"].sum() == actions["chosen"].sum() > 0
    assert summary["value"] == pytest.approx(candidates["net"].sum())
    assert candidates.filter("chosen")["allowed"].all()
    assert candidates.filter("chosen")["customer_id"].is_unique().all()
    limits = study.table("decision_limits")
    assert (limits["used"] <= limits["max"]).all()
    fall = study.table("decision_waterfall")
    assert fall["removed"].sum() + fall["left"][-1] == summary["candidates"]
    assert fall["left"][-1] == summary["allowed"]
    assert study.table("decision_findings").is_empty()
    assert study.table("decision_caps").filter("now")["value"].to_list() == pytest.approx([summary["value"]] * 4, rel=1e-3)


def test_every_view_says_something_and_is_drawn(study: Study) -> None:
    for look in (DECISION_PAGE.lead, *DECISION_PAGE.looks):
        assert look is not None
        view = look_at(look, study)
        assert not view.empty, (look.name, view.empty)
        assert view.sentence
        assert "n = " in view.footing or look.name == "decision_figures"
        assert "causes" not in f"{view.sentence} {view.footing}"
        if look.draw:
            assert look.draw(view) is not None


def test_small_groups_of_customers_are_hidden(study: Study) -> None:
    table = decision_views.chosen_actions(study).table
    small = study.table("decision_actions").filter((pl.col("chosen") > 0) & (pl.col("chosen") < 11))["action_id"].to_list()
    assert table.filter(pl.col("action").is_in(small))["chosen"].null_count() == len(small)


def test_another_cap_can_be_picked_and_an_unknown_one_is_refused(study: Study) -> None:
    caps = decision_views.list_caps(study)
    assert caps == ["cap_week", "cap_sms", "cap_call", "one_a_day"]
    assert decision_views.cap_choices(study).table.equals(decision_views.cap_choices(study, caps[0]).table)
    assert decision_views.cap_choices(study, "cap_call").sentence.startswith("Cap call allows 1 now")
    with pytest.raises(SettingError, match="cap_year"):
        decision_views.cap_choices(study, "cap_year")
    assert decision_plots.plot_cap_choices(decision_views.cap_choices(study, "cap_sms")) is not None


def test_without_a_policy_there_are_no_decisions_and_with_half_of_one_the_study_says_so(tmp_path: Path) -> None:
    made = simulate_customers(n=40, seed=2)
    plain = run_study(Settings(), made.events, tmp_path / "plain", False)
    assert not [name for name in plain.tables if name.startswith("decision")]
    assert "[decisions] policy, offers" in decision_views.policy_losses(plain).empty
    half = replace(Settings(), decisions=DecisionSettings(policy=DEMO_SETTINGS.decisions.policy))
    told = run_study(half, made.events, tmp_path / "half", False)
    assert "`offers` is empty" in told.manifest["stages"]["decisions"]["problem"]


def test_contacts_of_the_log_count_and_scores_without_answers_are_prior_only(tmp_path: Path) -> None:
    made = simulate_customers(n=60, seed=3)
    text = (Path(str(DEMO_SETTINGS.decisions.policy))).read_text().replace('max = 2\nwindow = "7d"', 'max = 1\nwindow = "90d"')
    (tmp_path / "policy.toml").write_text(text)
    chosen = replace(DEMO_SETTINGS.decisions, policy=tmp_path / "policy.toml", contacts=("email_sent", "sms_sent"))
    settings = replace(Settings(), decisions=chosen)
    told = run_study(settings, made.events, tmp_path / "study", False, profiles=made.profiles, consents=made.consents)
    assert told.table("decision_summary")["basis"].to_list() == ["prior only"]
    assert told.table("decision_waterfall").filter(pl.col("rule") == "cap_week")["blocked"][0] > 0
    assert "cannot be compared" in decision_views.scores_in_replay(told).empty
