"""Policies as people write them: what is read, what it is called, and every fault with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import motkit
from motkit.errors import SettingError
from motkit.policy import (
    Action,
    ConsentRule,
    CountRule,
    HoldoutRule,
    NeverRule,
    QuietRule,
    Window,
    parse_policy,
    read_window,
)
from motkit.written import find_lines

DAY = 86_400_000_000
WHOLE = """
[policy]
name = "retail"
default_tz = "block"
count_statuses = ["reserved", "sent"]

[[actions]]
id = "tyre_offer"
channel = "email"
category = "promo"
purpose = "marketing"
cost = 0.01
value = 42.0
valid_from = 2026-01-01
valid_to = 2026-06-30
usage = { money = 0.01 }

[[rules]]
id = "consent"
type = "consent"

[[rules]]
id = "quiet_night"
type = "quiet"
start = "21:00"
end = "08:00"
days = ["mon..sun"]
scope = { channel = ["sms", "call"] }
then = "defer"

[[rules]]
id = "cap_week"
type = "count"
max = 4
window = "7d"
of = { kind = "contact" }

[[rules]]
id = "day_mail"
type = "count"
max = 1
window = "1cd"
of = { kind = "contact", channel = "email" }
scope = { channel = "email" }

[[rules]]
id = "just_bought"
type = "count"
max = 0
window = "30d"
of = { kind = "purchase", same = ["category"] }
scope = { purpose = "marketing" }

[[rules]]
id = "rejected"
type = "count"
max = 2
window = "7d"
hold = "5d"
of = { kind = "reject", same = ["action"] }

[[rules]]
id = "loan_or_reminder"
type = "never"
a = { category = "loan" }
b = { category = "reminder" }
window = "30d"

[[rules]]
id = "holdout_all"
type = "holdout"
share = 0.05
salt = "g2026"

[[limits]]
id = "call_minutes"
usage = "minutes"
max = 4000
window = "1d"
scope = { channel = "call" }

[per_customer]
max_actions = 2
max_per = { channel = 1 }

[arbitration]
formula = "p * v * context * lever - cost"
tie = "action_id"
"""


def test_everything_that_a_policy_can_say_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(WHOLE, encoding="utf-8")
    policy = motkit.read_policy(tmp_path / "policy.toml")
    contact, promo = ("event", ("contact",)), ("channel", ("email",))
    assert [rule.id for rule in policy.rules][-1] == "validity"
    assert policy.rules[0] == ConsentRule("consent")
    assert policy.rules[1] == QuietRule("quiet_night", 1260, 480, scope=(("channel", ("call", "sms")),))
    assert policy.rules[2] == CountRule("cap_week", 4, Window(7 * DAY), (contact,))
    assert policy.rules[3] == CountRule("day_mail", 1, Window(1, "cd"), (promo, contact), scope=(promo,))
    assert isinstance(policy.rules[4], CountRule)
    assert policy.rules[4].same == ("category",)
    assert policy.rules[5] == CountRule("rejected", 2, Window(7 * DAY), (("event", ("reject",)),), ("action_id",), 5 * DAY)
    assert policy.rules[6] == NeverRule("loan_or_reminder", (("category", ("loan",)),), (("category", ("reminder",)),), Window(30 * DAY))
    assert policy.rules[7] == HoldoutRule("holdout_all", 0.05, "g2026")
    assert policy.limits[0].usage == "minutes"
    assert policy.per_customer.max_per == (("channel", 1),)
    assert policy.actions[0].valid_to == datetime(2026, 6, 30, tzinfo=UTC)


def test_the_version_follows_the_meaning_and_not_the_spelling() -> None:
    version = parse_policy(WHOLE).version
    assert len(version) == 16
    assert parse_policy("# a comment\n" + WHOLE.replace("max = 4\nwindow", 'note = "agreed in May"\nmax   =  4\nwindow')).version == version
    assert parse_policy(WHOLE.replace('["sms", "call"]', '["call", "sms"]').replace('"7d"', '"168h"')).version == version
    for change in (("max = 4\n", "max = 5\n"), ('"08:00"', '"08:01"'), ("0.05", "0.06"), ("42.0", "43.0"), ("2026-06-30", "2026-07-01")):
        assert parse_policy(WHOLE.replace(*change)).version != version


FAULTS = [
    ('end = "08:00"', 'end = "21:00"', "line 26: rules `quiet_night`: `start` and `end` are the same"),
    ('end = "08:00"', 'end = "25:00"', "`end` = '25:00' needs a local time"),
    ('days = ["mon..sun"]', 'days = ["monday"]', "'monday' is not a day"),
    ("max = 4\n", "max = -1\n", "`max` = -1 needs 0 or more"),
    ("max = 4\n", "max = true\n", "`max` = True needs a whole number"),
    ('window = "7d"\nof = { kind = "contact" }', 'of = { kind = "contact" }', "rules `cap_week`: needs `window`"),
    ('window = "1cd"', 'window = "1 day"', "`window` = '1 day' needs a stretch of time"),
    ('hold = "5d"', 'hold = "5cd"', "`hold` works with lengths"),
    ("share = 0.05", "share = 5", "`share` = 5 needs a share between 0 and 1"),
    ('scope = { purpose = "marketing" }', 'scope = { purpos = "marketing" }', "`scope` has no field `purpos`"),
    ('id = "cap_week"', 'id = "consent"', "the name 'consent' comes twice"),
    ('type = "holdout"', 'type = "hold_out"', "`type` = 'hold_out' needs one of"),
    ('salt = "g2026"', 'salt = "g2026"\nsallt = "x"', "`sallt` is not known; do you mean `salt`?"),
    ("max_actions = 2", "max_action = 2", "do you mean `max_actions`?"),
    ('default_tz = "block"', 'default_tz = "Europe/Berlim"', "'Europe/Berlin'"),
    ("[arbitration]", "[arbitrations]", "`arbitrations` is not a part of a policy"),
    ("valid_to = 2026-06-30", "valid_to = 2025-06-30", "never valid"),
    ('formula = "p * v * context * lever - cost"', 'formula = "p"', "only `p * v * context * lever - cost` is known"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[new[:40] for _, new, _ in FAULTS])
def test_a_fault_is_named_with_its_line(old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(SettingError) as refusal:
        parse_policy(WHOLE.replace(old, new, 1) if old != 'id = "cap_week"' else WHOLE.replace(old, new))
    assert any(message in fault for fault in refusal.value.faults), refusal.value.faults
    assert all("line" in fault for fault in refusal.value.faults)


def test_all_faults_come_at_once() -> None:
    text = WHOLE
    for old, new, _ in (FAULTS[1], FAULTS[3], FAULTS[8], FAULTS[14]):
        text = text.replace(old, new, 1)
    with pytest.raises(SettingError) as refusal:
        parse_policy(text)
    assert len(refusal.value.faults) == 4


def test_a_file_that_is_missing_or_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no such file"):
        motkit.read_policy(tmp_path / "none.toml")
    with pytest.raises(SettingError, match=r"not TOML.*line 1"):
        parse_policy("rules = ]")


def test_zero_means_none_and_a_missing_rule_means_no_limit() -> None:
    closed = parse_policy('[[rules]]\nid = "no_sms"\ntype = "count"\nmax = 0\nwindow = "7d"\nof = { channel = "sms" }')
    assert isinstance(closed.rules[0], CountRule)
    assert closed.rules[0].max == 0
    assert [rule.id for rule in parse_policy("").rules] == ["validity"]


def test_an_exempt_action_still_needs_the_consent_of_its_purpose() -> None:
    policy = parse_policy(WHOLE)
    service = Action("notice", "email", exempt=("cap_week", "consent"))
    assert [rule.id for rule in policy.rules if policy.applies(rule, service)] == [
        "consent", "day_mail", "just_bought", "rejected", "loan_or_reminder", "holdout_all", "validity",
    ]  # fmt: skip


def test_windows_and_lines_are_read() -> None:
    assert read_window("90m") == Window(90 * 60_000_000)
    assert read_window("1cm") == Window(1, "cm")
    assert read_window("-1d") is None
    assert find_lines("[a]\nb = 1\n[[c]]\nd = 2\n[[c]]\nd = 3")["c", "1", "d"] == 6
