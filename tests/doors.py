"""Every door by which input comes into motkit, each with good samples to spoil."""

import contextlib
import gzip
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from apart import run_apart
from bad_inputs import Door

import motkit
from motkit.access import hash_password, read_access
from motkit.apps.api import add_key, make_api, make_key, read_keys
from motkit.decider import Decider
from motkit.errors import SourceError
from motkit.kinds import read_kind_rules
from motkit.page_parts import CHANNELS, PERIOD, SEGMENTS
from motkit.page_viewer import read_query
from motkit.persona_cards import read_persona_names
from motkit.persona_drift import read_memory
from motkit.policy import parse_policy
from motkit.rollout import read_programme
from motkit.settings import read_settings
from motkit.sources import read_source

ROOT = Path(__file__).parent.parent
CSV = b"customer_id,timestamp,event,channel,value\n007,2024-03-31 02:30:00,visit,web,1.5\nu2,2024-03-31T10:00:00Z,purchase,store,-3\n,2024-01-01,visit,web,\nu3,soon,visit,web,x\n"
EVENT = {"messageId": "m1", "type": "track", "event": "paid", "userId": "ann", "anonymousId": "a1", "timestamp": "2026-03-01T10:00:00Z", "properties": {"revenue": 9.5}, "context": {"page": {"path": "/a"}}}  # fmt: skip
FORMATS = {
    "segment": EVENT,
    "rudderstack": EVENT | {"rudderId": "r1", "channel": "web", "originalTimestamp": "2026-03-01T10:00:00Z"},
    "xdm": {"_id": "x1", "timestamp": "2026-03-01T10:00:00Z", "eventType": "commerce.purchases", "identityMap": {"ECID": [{"id": "e1"}]}, "commerce": {"order": {"priceTotal": 9.5}}},
    "cloudevents": {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "time": "2026-03-01T10:00:00Z", "subject": "ann", "data": {"value": 9.5}},
    "posthog": {"uuid": "u1", "event": "look", "distinct_id": "ann", "timestamp": "2026-03-01T10:00:00Z", "properties": {"$lib": "web", "value": 9.5}},
    "amplitude": {"amplitude_id": 5, "device_id": "d", "user_id": "ann", "event_type": "look", "event_time": "2026-03-01 10:00:00.000", "session_id": -1, "event_properties": {"revenue": 9.5}, "$insert_id": "i"},
    "matomo": {"idVisit": 4, "idSite": 1, "visitorId": "aa", "userId": "ann", "actionDetails": [{"type": "action", "timestamp": 1772359200, "timeSpent": "20", "pageId": 1}]},
    "klaviyo": {"data": [{"type": "event", "id": "k1", "attributes": {"uuid": "k", "datetime": "2026-03-01T10:00:00Z", "event_properties": {"$value": "$9.50"}}, "relationships": {"profile": {"data": {"id": "ann"}}, "metric": {"data": {"id": "paid"}}}}]},
    "ga4": {"event_date": "20260301", "event_timestamp": 1772359200000000, "event_name": "page_view", "user_pseudo_id": "c1", "event_params": [{"key": "ga_session_id", "value": {"int_value": 7}}, {"key": "value", "value": {"double_value": 9.5}}], "platform": "WEB"},
    "mixpanel": {"event": "look", "properties": {"time": 1772359200, "distinct_id": "ann", "$insert_id": "i1", "value": 9.5}},
}  # fmt: skip
XES = b"""<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xmlns="http://www.xes-standard.org/"><trace><string key="concept:name" value="case 1"/>
<event><string key="concept:name" value="register"/><date key="time:timestamp" value="2026-03-01T10:00:00.000+01:00"/><int key="cost" value="50"/></event>
<event><string key="concept:name" value="decide"/><date key="time:timestamp" value="2026-03-02T10:00:00.000+01:00"/></event></trace></log>"""
OCEL = json.dumps({"objectTypes": [{"name": "customer", "attributes": []}], "eventTypes": [{"name": "order", "attributes": [{"name": "value", "type": "float"}]}], "objects": [{"id": "ann", "type": "customer"}], "events": [{"id": "e1", "type": "order", "time": "2026-03-01T10:00:00Z", "attributes": [{"name": "value", "value": 9.5}], "relationships": [{"objectId": "ann", "qualifier": "by"}]}]}).encode()  # fmt: skip
WEBLOG = b'1.2.3.4 - - [01/Mar/2026:10:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 512 "http://x.org/" "Mozilla/5.0"\n1.2.3.5 - ann [01/Mar/2026:10:00:01 +0000] "POST /pay HTTP/1.1" 500 12 "-" "bot"\n'


def _keep(folder: Path, name: str, given: bytes) -> Path:
    file = folder / name
    file.write_bytes(given)
    return file


def read_log(source: object, **more: Any) -> None:
    """Read a log to its end; what is not an event is a rejected row, and counts add up."""
    log = motkit.read_events(source, **({"time_zone": "UTC"} | more))
    events = log.events.collect()
    assert log.summary.rows_read == events.height + log.rejected.height == log.summary.events + log.summary.rejected, "counts do not add up"
    assert not events["customer_id"].str.strip_chars().is_in(["", "null"]).any(), "a customer without a name"


def log_doors(folder: Path) -> list[Door]:
    """The readers of logs, in text, compressed, as tables and as exports of other systems."""
    as_lines = {name: b"".join(json.dumps(one).encode() + b"\n" for one in (record, record | {"extra": None})) for name, record in FORMATS.items()}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("log.csv", CSV)
    parquet, arrow = io.BytesIO(), io.BytesIO()
    table = pl.read_csv(CSV, infer_schema=False)
    table.write_parquet(parquet)
    table.write_ipc(arrow)
    files = [
        ("a log in text", "log.csv", [CSV]),
        ("a compressed log", "log.csv.gz", [gzip.compress(CSV)]),
        ("a zip file", "log.zip", [zipped.getvalue()]),
        ("Parquet", "log.parquet", [parquet.getvalue()]),
        ("Arrow", "log.arrow", [arrow.getvalue()]),
        ("XES", "log.xes", [XES]),
        ("OCEL", "log.jsonocel", [OCEL]),
        ("a web server's log", "access.log", [WEBLOG]),
    ]
    doors = [Door(name, samples, lambda given, file=file: read_log(_keep(folder, file, given))) for name, file, samples in files]
    for name, sample in as_lines.items():
        doors.append(Door(f"{name} in JSON lines", [sample], lambda given, name=name: read_log(_keep(folder, f"{name}.jsonl", given), source_format=name)))
    return [*doors, Door("JSON lines of any system", list(as_lines.values()), lambda given: read_log(_keep(folder, "any.jsonl", given)))]


def table_doors(folder: Path) -> list[Door]:
    """The readers of other tables."""
    profiles = b"customer_id,plan,age,valid_from\nann,gold,41,2026-01-01\nbob,,x,\n"
    consents = b"customer_id,purpose,channel,valid_from,valid_to,given\nann,marketing,email,2026-01-01,,true\nbob,marketing,sms,2026-01-01,2025-01-01,maybe\n"
    return [
        Door("a table of profiles", [profiles], lambda given: motkit.read_profiles(_keep(folder, "profiles.csv", given))),
        Door("a table of consents", [consents], lambda given: motkit.read_consents(_keep(folder, "consents.csv", given))),
    ]


def text_doors(folder: Path) -> list[Door]:
    """The readers of text files that people write."""
    demo = {name: (ROOT / "motkit" / "demo" / f"{name}.toml").read_bytes() for name in ("moments", "promises", "policy", "offers", "journey", "triggers")}
    readers: dict[str, Callable[[Path], object]] = {
        "moments": motkit.read_moments,
        "promises": motkit.read_promises,
        "policy": motkit.read_policy,
        "offers": motkit.read_offers,
        "journey": motkit.read_journey,
        "triggers": motkit.read_triggers,
    }
    doors = [Door(f"{name}.toml", [demo[name]], lambda given, name=name, read=read: read(_keep(folder, f"{name}.toml", given))) for name, read in readers.items()]
    rules = b"[[rule]]\nevent = '*search*'\nkind = 'zero'\nwant = 'know'\n"
    source = (ROOT / "tests/sources/oulad/source.toml").read_bytes(), (ROOT / "tests/sources/ecom/source.toml").read_bytes()
    access = f'[users.ann]\nrole = "analyst"\npassword = "{hash_password("a long enough word", bytes(16))}"\n'.encode(), b'others = "viewer"\n[oauth]\nprovider = "google"\nkey = "k"\n[roles]\n"ann@x.org" = "agent"\n'
    keys = make_key("till", "sender")[1].encode()
    more: list[tuple[str, str, tuple[bytes, ...], Callable[[Path], object]]] = [
        ("rules of kinds", "kinds.toml", (rules,), read_kind_rules),
        ("source.toml", "source.toml", source, read_source),
        ("names of personas", "personas.toml", (b'[P1]\nname = "The careful ones"\n[P2]\nname = ""\n',), read_persona_names),
        ("the memory of personas", "memory.json", (b'{"format": 1, "encoding": {"numbers": [], "levels": []}, "scorer": {}}',), read_memory),
        ("who may enter", "access.toml", access, read_access),
        ("keys", "keys.toml", (keys,), read_keys),
        ("a roll-out", "programme.jsonl", (b'{"phase": "pilot", "share": 0.1, "metrics": ["orders"]}\n',), read_programme),
        ("settings.ini", "settings.ini", ((ROOT / "settings.ini").read_bytes(),), read_settings),
        ("a study's manifest", "manifest.json", (b'{"format": 1, "motkit": "0.1.0", "tables": {"sessions": {"rows": 1}}, "as_of": "2026-01-01"}',), lambda file: motkit.open_study(file.parent)),
    ]  # fmt: skip
    return doors + [Door(name, samples, lambda given, file=file, read=read: read(_keep(folder, file, given))) for name, file, samples, read in more]


def _address(given: bytes) -> object:
    choices = {choice.name: choice for choice in (CHANNELS, SEGMENTS, PERIOD)}
    return read_query(given.decode("utf-8", "replace"), choices)


def _command(folder: Path) -> Callable[[bytes], object]:
    """The command line in this process: it ends with 0 or 2, and prints no traceback."""
    from motkit.__main__ import main

    def enter(given: bytes) -> object:
        words = [word for word in given.decode("utf-8", "replace").split("\n") if word]
        _keep(folder, "log.csv", CSV)
        said, before = io.StringIO(), sys.argv
        if words[:1] in (["serve"], ["demo"], ["password"], ["bench"], ["validate"]):
            words = ["run", *words[1:]]
        sys.argv, code = ["motkit", *words], None
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), contextlib.chdir(folder):
                main()
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = before
        assert code in (0, 2, None), f"ends with {code}"
        assert "Traceback" not in said.getvalue(), "a traceback"
        return None

    return enter


def ask_api(api: Any, path: str, body: bytes, key: str) -> tuple[int, bytes]:
    """Status and text of an answer, without a server between."""
    sent, asked = list[Any](), iter([{"type": "http.request", "body": body, "more_body": False}])
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "content-length": str(len(body))}
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "client": ("here", 1), "http_version": "1.1", "scheme": "http"}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> Any:
        return next(asked, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    run_apart(api(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def api_doors(folder: Path) -> list[Door]:
    """The bodies that the HTTP routes take."""
    policy = '[[actions]]\nid = "text"\nchannel = "sms"\nvalue = 60\n[[rules]]\nid = "cap"\ntype = "count"\nmax = 2\nwindow = "7d"\nof = { kind = "contact" }\n'
    made: dict[str, Any] = {}

    def enter(path: str, given: bytes) -> None:
        if not made:
            place = tempfile.mkdtemp(dir=folder)
            made["key"] = add_key(f"{place}/keys.toml", "all", "admin")
            made["api"] = make_api(Decider(parse_policy(policy), ledger=f"sqlite:///{place}/ledger.db"), read_keys(f"{place}/keys.toml"), rate=1e6)
        status, told = ask_api(made["api"], path, given, made["key"])
        assert status < 500, f"{path}: {status}"
        if status >= 400:
            problem = json.loads(told)
            raise SourceError(path, problem["title"] or "?", problem.get("detail") or problem["title"])

    bodies = {
        "/v1/decide": {"customer_id": "ann", "at": "2026-03-02T12:00:00Z", "scores": {"text": {"p": 0.2, "value": 3.0}}, "mode": "event"},
        "/v1/observe": {"events": [{"customer_id": "ann", "timestamp": "2026-03-02T12:00:00Z", "event": "visit", "channel": "web", "value": 2.5}]},
        "/v1/outcome": {"decision_id": "x", "outcome": "clicked", "value": 1.0},
        "/v1/override": {"decision_id": "x", "agent": "bob", "reason": "asked not to", "chosen": "text"},
    }
    return [Door(f"POST {path}", [json.dumps(body).encode()], partial(enter, path)) for path, body in bodies.items()]


def other_doors(folder: Path) -> list[Door]:
    """Addresses of pages, and the command line."""
    commands = [b"run\n--events\nlog.csv\n--out\nmade\n--set\nsessions.gap_minutes=20\n--quiet", b"report\nmade\n--out\nreport.html", b"erase\nmade\nann", b"key\ntill\n--role\nsender", b"--version"]
    return [
        Door("the address of a page", [b"?page=journey&channels=web&channels=store&segments=a&period=2026-01-05&period=2026-02-02"], _address),
        Door("the command line", commands, _command(folder)),
    ]


def all_doors(folder: Path) -> list[Door]:
    """All of them."""
    return [*log_doors(folder), *table_doors(folder), *text_doors(folder), *other_doors(folder), *api_doors(folder)]
