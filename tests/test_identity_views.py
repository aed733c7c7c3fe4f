"""Identity views: what they say is what the tables of the study hold, and no identifier is shown."""

from pathlib import Path

from test_erasure import PEOPLE, SETTINGS, write_log

import motkit
from motkit.identity_views import identity_counts, identity_sensitivity, refused_links
from motkit.settings import Settings, read_settings


def test_the_views_say_what_the_tables_hold_and_show_no_identifier(tmp_path: Path) -> None:
    study = motkit.run_study(read_settings(overrides=SETTINGS), write_log(tmp_path), tmp_path / "study", progress=False)
    counts, levels, refused = identity_counts(study), identity_sensitivity(study), refused_links(study)
    assert counts.sentence == f"{3 * PEOPLE} identifiers name {PEOPLE} customers; the log itself had {3 * PEOPLE} ids."
    assert levels.table["people"].to_list() == study.table("identity_sensitivity")["people"].to_list()
    assert "40 to 120 customers" in levels.sentence
    assert refused.empty == f"All {2 * PEOPLE} links between identifiers were used; none was refused."
    for view in (counts, levels, refused):
        assert "cookie-" not in str(view) + view._repr_html_()
        assert "person-" not in str(view) + view._repr_html_()


def test_few_customers_are_hidden(tmp_path: Path) -> None:
    study = motkit.run_study(read_settings(overrides=SETTINGS | {"study.min_cell": "50"}), write_log(tmp_path), tmp_path / "study", progress=False)
    table = identity_sensitivity(study).table
    assert table["people"].to_list() == [3 * PEOPLE, None, None, None]
    assert table["came_back_share"].null_count() == 3


def test_a_study_without_keys_says_what_to_set(tmp_path: Path) -> None:
    study = motkit.run_study(Settings(), write_log(tmp_path), tmp_path / "study", progress=False)
    for view in (identity_counts(study), identity_sensitivity(study), refused_links(study)):
        assert "[identity] keys" in view.empty
