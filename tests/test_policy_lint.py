"""What the linter finds, one fault at a time, and that the policy that ships has none."""

from pathlib import Path

import pytest
from test_policy import WHOLE

import motkit
from motkit.errors import SettingError
from motkit.policy import parse_policy
from motkit.policy_lint import check_policy, lint_policy

ACTIONS = '[[actions]]\nid = "m"\nchannel = "email"\ncategory = "promo"\n[[actions]]\nid = "s"\nchannel = "sms"\ncategory = "loan"\n'
CONSENT = '[[rules]]\nid = "consent"\ntype = "consent"\n'
COUNT = '[[rules]]\nid = "{}"\ntype = "count"\nmax = {}\nwindow = "{}"\nof = {{ kind = "contact"{} }}\n'
QUIET = '[[rules]]\nid = "{}"\ntype = "quiet"\nstart = "{}"\nend = "{}"\n'

CASES = [
    (COUNT.format("c", 2, "7d", ', channel = "emial"'), "error", "do you mean 'email'?"),
    (COUNT.format("c", 0, "7d", ""), "error", "'m' can never go out"),
    (QUIET.format("night", "20:00", "08:00") + QUIET.format("day", "08:00", "20:00"), "error", "quiet the whole week"),
    (QUIET.format("night", "20:00", "08:00") + QUIET.format("late", "22:00", "23:00"), "warning", "wholly within the quiet hours of `night`"),
    ('[[actions]]\nid = "x"\nchannel = "sms"\nvalid_from = 2026-06-01T22:00:00\nvalid_to = 2026-06-02T06:00:00\n' + QUIET.format("night", "20:00", "08:00"), "error", "only during quiet hours"),
    (COUNT.format("wide", 2, "30d", "") + COUNT.format("narrow", 3, "7d", ', channel = "sms"'), "warning", "never binds"),
    ('[[rules]]\nid = "h"\ntype = "holdout"\nshare = 1.0\nsalt = "x"\n', "error", "everybody is held out"),
    ('[[rules]]\nid = "h"\ntype = "holdout"\nshare = 0\nsalt = "x"\n', "warning", "nobody is held out"),
    ('[[limits]]\nid = "money"\nusage = "money"\nmax = 10\n', "warning", "no action in its scope uses `money`"),
    ('[[limits]]\nid = "all"\nmax = 0\n', "error", "a maximum of 0 means none at all"),
    ("[per_customer]\nmax_actions = 0\n", "error", "nobody ever gets anything"),
    ('[[actions]]\nid = "y"\nchannel = "email"\ncategory = "loan"\n[per_customer]\nmax_per = { channel = 1, category = 1 }\n', "error", "cut across"),
    ('[[actions]]\nid = "x"\nchannel = "sms"\nexempt = ["nothing"]\n', "error", "'nothing', which is not a rule"),
    ('[[actions]]\nid = "x"\nchannel = "sms"\nexempt = ["consent"]\n', "error", "consent of its own purpose always holds"),
    ('[[rules]]\nid = "n"\ntype = "never"\na = { channel = "sms" }\nb = { category = "loan" }\nwindow = "7d"\n', "warning", "on both sides"),
]


@pytest.mark.parametrize(("text", "severity", "message"), CASES, ids=[message for _, _, message in CASES])
def test_a_fault_of_meaning_is_found(text: str, severity: str, message: str) -> None:
    found = lint_policy(parse_policy(ACTIONS + CONSENT + text))
    assert any(finding.severity == severity and message in finding.message for finding in found), found


def test_a_sound_policy_gives_nothing_and_a_missing_consent_rule_is_said() -> None:
    assert lint_policy(parse_policy(ACTIONS + CONSENT + COUNT.format("c", 2, "7d", ""))) == []
    assert [finding.message for finding in lint_policy(parse_policy(ACTIONS))] == ["no rule asks for consent"]


def test_a_file_with_faults_gives_them_as_findings_and_errors_come_first(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(WHOLE.replace("max = 4\n", "max = -4\n"))
    assert [finding.severity for finding in motkit.lint_policy(tmp_path / "policy.toml")] == ["error"]
    many = lint_policy(parse_policy(ACTIONS + COUNT.format("c", 0, "7d", "")))
    assert [finding.severity for finding in many] == ["error", "error", "warning"]
    with pytest.raises(SettingError, match="can never go out"):
        check_policy(parse_policy(ACTIONS + COUNT.format("c", 0, "7d", "")))
