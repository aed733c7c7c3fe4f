"""Decisions over HTTP: a process of its own, asked over loopback, with keys, roles, limits and errors without tracebacks."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apart import run_apart
from light_study import run_stages
from postgres_fixture import free_port
from served_api import Served, serve_api

from motkit.decider import Decider
from motkit.errors import SettingError
from motkit.journal import Journal
from motkit.ledger import Ledger
from motkit.policy import parse_policy
from motkit.settings import Settings
from motkit.simulate import simulate_customers

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")
from motkit.apps.api import MOST_BYTES, Bucket, add_key, check_instant, hash_key, make_api, read_keys

POLICY = """
[[actions]]
id = "text"
channel = "sms"
value = 60
[[actions]]
id = "mail"
channel = "email"
value = 30
[[rules]]
id = "cap_week"
type = "count"
max = 2
window = "7d"
of = { kind = "contact" }
"""
TRIGGERS = '[[triggers]]\nname = "calls"\ntype = "count"\nof = "support_call"\nn = 2\nwithin = "7d"\nemits = { need = "resolve", ttl = "3d" }\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    run_stages({"sessions"}, Settings(), simulate_customers(n=60, seed=1).events, folder / "study")
    (folder / "policy.toml").write_text(POLICY)
    (folder / "triggers.toml").write_text(TRIGGERS)
    keys = {role: add_key(folder / "keys.toml", f"the {role}", role) for role in ("sender", "observer", "agent", "admin")}
    with serve_api(folder, "--policy", "policy.toml", "--triggers", "triggers.toml", keys=keys) as served:
        yield served


def test_a_decision_is_made_reserved_sent_and_answered(served: Served) -> None:
    status, made = served.ask("/v1/decide", {"customer_id": "ann", "scores": {"text": {"p": 0.2}}, "trigger": "calls"}, "sender")
    assert (status, made["chosen"], made["propensity"]) == (200, "text", 1.0)
    assert made["candidates"][0]["why"] == "chosen: 0.2 x 60 x 1 x 1 - 0 = 12"
    name = made["decision_id"]
    assert served.ask("/v1/contact", {"decision_id": name, "status": "sent"}, "sender")[0] == 200
    assert served.ask("/v1/outcome", {"decision_id": name, "outcome": "clicked", "value": 1.5}, "observer")[1]["fresh"]
    assert served.ask("/v1/override", {"decision_id": name, "agent": "kim", "reason": "wanted a call"}, "agent")[0] == 200
    row = Ledger(f"sqlite:///{served.folder}/ledger.db").decisions().row(0, named=True)
    assert (row["trigger"], row["status"], row["outcomes"], row["overridden_by"]) == ("calls", "sent", ["clicked"], "kim")
    assert served.ask("/v1/decide", {"customer_id": "ann"})[1]["chosen"] == "text"
    blocked = served.ask("/v1/decide", {"customer_id": "ann"})[1]
    assert (blocked["chosen"], blocked["candidates"][0]["blocked_by"]) == (None, ["cap_week"])
    assert blocked["candidates"][0]["next_allowed"].endswith("Z")


def test_events_are_observed_and_triggers_propose(served: Served) -> None:
    now = datetime.now(UTC)
    calls = [{"customer_id": "bo", "timestamp": (now - timedelta(days=k)).isoformat(), "event": "support_call", "channel": "call", "topic": "bill"} for k in (2, 1)]
    status, told = served.ask("/v1/observe", {"events": calls}, "observer", Idempotency_Key="calls-1")
    assert (status, told["observed"], [fired["need"] for fired in told["fired"]]) == (200, 2, ["resolve"])
    assert served.ask("/v1/observe", {"events": calls}, "observer", Idempotency_Key="calls-1")[1]["fired"] == []
    status, card = served.ask("/v1/card/bo", role="agent")
    assert (status, card["service"]["contacts"], card["service"]["repeats"]) == (200, 2, 1)
    assert card["needs"][0]["need"] == "resolve"
    assert card["promises"] == {"missing": "no register of promises was given"}
    assert [one["event"] for one in card["interactions"]] == ["support_call"] * 2
    known = served.ask("/v1/card/c000007", role="agent")[1]
    assert known["who"]["n_events"] > 0


def test_the_same_request_sent_twice_is_decided_once(served: Served) -> None:
    made = [served.ask("/v1/decide", {"customer_id": "cy"}, Idempotency_Key="once")[1]["decision_id"] for _ in range(2)]
    assert made[0] == made[1]
    assert served.ask("/v1/decide", {"customer_id": "cy"}, "sender", Idempotency_Key="once")[1]["decision_id"] != made[0]  # keys do not meet


@pytest.mark.parametrize(
    ("role", "path", "body", "status"),
    [
        (None, "/v1/decide", {"customer_id": "ann"}, 401),
        ("observer", "/v1/decide", {"customer_id": "ann"}, 403),
        ("sender", "/v1/observe", {"events": [{"customer_id": "a", "event": "b"}]}, 403),
        ("sender", "/v1/card/ann", None, 403),
        ("sender", "/v1/override", {"decision_id": "x", "agent": "kim", "reason": "y"}, 403),
        (None, "/v1/card/ann", None, 401),
    ],
)
def test_a_route_is_for_its_roles_only(served: Served, role: str | None, path: str, body: Any, status: int) -> None:
    assert served.ask(path, body, role)[0] == status
    time.sleep(0.6)  # strangers are let through once a second


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/decide", {}, 422, "customer_id: Field required"),
        ("/v1/decide", {"customer_id": "ann", "colour": "red"}, 422, "colour"),
        ("/v1/decide", {"customer_id": "ann", "scores": {"flowers": {"p": 0.5}}}, 422, "no actions ['flowers']"),
        ("/v1/decide", {"customer_id": "ann", "scores": {"text": {"p": 1.5}}}, 422, "less than or equal to 1"),
        ("/v1/decide", {"customer_id": "ann", "at": "2026-03-02T12:00:00"}, 422, "names no zone"),
        ("/v1/decide", {"customer_id": "ann", "at": "2099-03-02T12:00:00Z"}, 422, "ahead of the server's clock"),
        ("/v1/decide", b'{"customer_id": "ann', 422, ""),
        ("/v1/decide", b"x" * (MOST_BYTES + 1), 413, "at most 65,536 bytes"),
        ("/v1/observe", {"events": []}, 422, "at least 1"),
        ("/v1/observe", {"events": [{"customer_id": "a", "event": "b", "deep": {"x": 1}}]}, 422, "no plain values"),
        ("/v1/observe", {"events": [{"customer_id": "a", "event": "b", **{f"f{k}": k for k in range(60)}}]}, 422, "more than 50 fields"),
        ("/v1/outcome", {"decision_id": "none", "outcome": "clicked"}, 404, "holds no decision 'none'"),
        ("/v1/card/nobody", None, 404, "nothing is known"),
        ("/v1/nowhere", {}, 404, ""),
        ("/health", {}, 405, ""),
    ],
)
def test_a_request_that_is_none_is_refused_with_a_problem(served: Served, path: str, body: Any, status: int, said: str) -> None:
    found, told = served.ask(path, body)
    assert found == status
    assert told["status"] == status
    assert said in told["detail"]


def test_health_and_the_description_need_no_key_and_nothing_is_loaded_from_elsewhere(served: Served) -> None:
    assert served.ask("/health", role=None) == (200, {"status": "ok"})
    status, described = served.ask("/openapi.json", role=None)
    assert status == 200
    assert {"/v1/decide", "/v1/observe", "/v1/outcome", "/v1/contact", "/v1/override", "/v1/card/{customer_id}", "/health"} == set(described["paths"])
    assert served.ask("/docs", role=None)[0] == 404


def test_a_stranger_who_tries_keys_is_slowed_down(served: Served) -> None:
    time.sleep(2)
    served.keys["stranger"] = "mk_guess"
    found = [served.ask("/v1/decide", {"customer_id": "ann"}, "stranger")[0] for _ in range(6)]
    assert found[0] == 401
    assert 429 in found
    assert served.ask("/v1/decide", {"customer_id": "di"})[0] == 200


def test_a_bucket_lets_through_its_rate() -> None:
    bucket = Bucket(10.0)
    assert [bucket.take(0.0) == 0 for _ in range(21)] == [True] * 20 + [False]
    assert [bucket.take(0.1) == 0 for _ in range(2)] == [True, False]
    assert bucket.take(0.15) == pytest.approx(0.05)


def test_keys_stand_in_their_file_as_hashes_only(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    key = add_key(file, "web shop", "sender")
    add_key(file, "crm", "agent")
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert [(one.name, one.role) for one in read_keys(file)] == [("web shop", "sender"), ("crm", "agent")]
    assert read_keys(file)[0].hash == hash_key(key)
    with pytest.raises(SettingError, match="already"):
        add_key(file, "crm", "agent")
    with pytest.raises(SettingError, match="'king' is unknown"):
        add_key(file, "x", "king")
    for content, said in (("", "holds no keys"), ("[[keys", "is not TOML"), ('[[keys]]\nname = "x"\nrole = "king"\nhash = "plain"\n', "`role`")):
        file.write_text(content)
        with pytest.raises(SettingError, match=said):
            read_keys(file)
    with pytest.raises(SettingError, match="no such file"):
        read_keys(tmp_path / "none.toml")


def test_an_instant_is_the_clocks_or_near_it() -> None:
    assert abs(check_instant(None) - datetime.now(UTC)) < timedelta(seconds=5)
    assert check_instant(datetime(2026, 1, 1, 12, tzinfo=UTC)) == datetime(2026, 1, 1, 12, tzinfo=UTC)
    with pytest.raises(SettingError, match="no zone"):
        check_instant(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "no contact policy, and none was named"),
        (["--policy", "none.toml"], "there is no such file"),
        (["--policy", "policy.toml", "--keys", "none.toml"], "motkit key NAME"),
        (["--policy", "policy.toml", "--ledger", "mysql://ann:secret@host/x"], "the address begins with 'mysql'"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_paragraph(served: Served, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "motkit", "serve", "study", "--api", "--port", str(free_port()), *options]
    done = subprocess.run(command, cwd=served.folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_nobody_foresaw_is_a_problem_without_a_word_of_it_and_is_noted_by_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(f"sqlite:///{tmp_path}/ledger.db")
    decider = Decider(parse_policy(POLICY), ledger=journal)
    monkeypatch.setattr(decider, "decide", lambda *given, **told: 1 / len(()))
    key = add_key(tmp_path / "keys.toml", "the sender", "sender")
    api, sent = make_api(decider, read_keys(tmp_path / "keys.toml")), list[dict[str, Any]]()
    body = json.dumps({"customer_id": "ann"}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "content-length": str(len(body))}

    async def ask() -> None:
        scope = {"type": "http", "method": "POST", "path": "/v1/decide", "query_string": b"", "client": ("here", 1), "http_version": "1.1", "scheme": "http"}
        asked = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            return next(asked, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await api({**scope, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}, receive, send)

    with pytest.raises(ZeroDivisionError):  # goes on to the server's own log, after the answer
        run_apart(ask())
    assert sent[0]["status"] == 500
    assert dict(sent[0]["headers"])[b"content-type"] == b"application/problem+json"
    told = json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
    assert told["title"] == "Internal Server Error"
    assert "division" not in str(told)
    assert capsys.readouterr().err == "motkit api: ZeroDivisionError on POST /v1/decide\n"
    journal.close()


def test_no_request_is_told_to_telemetry_whatever_the_environment_and_the_process_have_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    asked = []

    class Heard(trace.TracerProvider):
        def get_tracer(self, *given: Any, **more: Any) -> Any:
            asked.append(given)
            return trace.NoOpTracer()

    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    trace.set_tracer_provider(Heard())
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    decider = Decider(parse_policy(POLICY), ledger=Ledger(f"sqlite:///{tmp_path}/ledger.db"))
    with TestClient(make_api(decider, ())) as client:
        assert client.get("/health").json() == {"status": "ok"}
    assert asked == []
    plain = FastAPI(telemetry={"auto_configure": False})
    TestClient(plain).get("/health")
    assert asked, "a plain application does ask, so that the test can fail"
