"""Decisions over HTTP, as a process of its own: decide, observe, outcome, contact, card, health. JSON in and out.

Every route but `/health` asks for a key of a role that may use it; the login of the pages does not cover this process.
Errors are problem JSON (RFC 9457) without tracebacks. `motkit serve STUDY --api` starts it.
"""

import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motkit.card import card_as_values, customer_card
from motkit.decider import Decider, append_to_decision, settle_contact
from motkit.decision import Decision
from motkit.errors import DesignError, LedgerError, MissingExtraError, MotkitError, SettingError
from motkit.journal import Journal
from motkit.ledger import Ledger
from motkit.study import open_study
from motkit.deciding import study_decider, study_settings
from motkit.written import read_toml

try:
    import uvicorn
    from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.datastructures import Headers
    from starlette.exceptions import HTTPException as StarletteHTTPException
    from starlette.types import ASGIApp, Receive, Scope, Send
except ImportError as error:
    raise MissingExtraError("motkit serve --api", f"needs {error.name}, which is not installed", "Type: pip install 'motkit[api]'") from None

MOST_BYTES = 65_536  # of a request's body
MOST_EVENTS = 500  # in one request
NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)  # whatever the environment says
AHEAD = timedelta(days=1)  # a request may not be further ahead of the clock

# ---------------------------------------------------------------- keys and roles

ROLES: dict[str, frozenset[str]] = {
    "sender": frozenset({"decide", "contact", "outcome"}),
    "observer": frozenset({"observe", "outcome"}),
    "agent": frozenset({"decide", "contact", "outcome", "override", "card"}),
    "admin": frozenset({"decide", "contact", "outcome", "override", "card", "observe"}),
}


class Key(BaseModel):
    """One key of the file: who has it, what it may do, and its hash; the key itself is written nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(min_length=1)]
    role: Literal["sender", "observer", "agent", "admin"]
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


def hash_key(key: str) -> str:
    """The hash under which a key stands in the file; keys are long and drawn, so one round is enough."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def make_key(name: str, role: str) -> tuple[str, str]:
    """A new key, to be handed over once, and its lines for the file. Raises `SettingError` for an unknown role."""
    if role not in ROLES:
        raise SettingError("role", f"{role!r} is unknown", f"The roles are {', '.join(ROLES)}.")
    key = f"mk_{secrets.token_urlsafe(32)}"
    return key, f'[[keys]]\nname = {json.dumps(name)}\nrole = "{role}"\nhash = "{hash_key(key)}"\n'


def add_key(path: str | Path, name: str, role: str) -> str:
    """Make a key and add its lines to the file, which only its owner may read. Raises `SettingError` for a name that is there."""
    path = Path(path)
    if path.exists() and name in {one.name for one in read_keys(path)}:
        raise SettingError(str(path), f"there is a key of {name!r} already", "Remove its lines, or choose another name.")
    key, lines = make_key(name, role)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
        file.write(lines if not file.tell() else f"\n{lines}")
    return key


def read_keys(path: str | Path) -> tuple[Key, ...]:
    """Read the file of keys. Raises `SettingError` with every fault."""
    hint = "Make a key and its lines with: motkit key NAME --role sender"
    given = read_toml(path, hint)[1].get("keys", [])
    if not isinstance(given, list):
        raise SettingError(str(path), "`keys` is no list of tables", hint)
    try:
        keys = tuple(Key.model_validate(one) for one in given)
    except ValidationError as error:
        raise SettingError(str(path), [f"`{fault['loc'][-1]}`: {fault['msg']}" for fault in error.errors()], hint) from None
    if not keys:
        raise SettingError(str(path), "holds no keys", hint)
    return keys


# ---------------------------------------------------------------- rates


@dataclass
class Bucket:
    """A rate of so many a second, with a burst of twice as many."""

    rate: float
    left: float = 0.0
    at: float = -1.0

    def take(self, now: float) -> float:
        """0 if one may pass, else the seconds to wait."""
        burst = max(2 * self.rate, 1.0)
        self.left = burst if self.at < 0 else min(burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return (1 - self.left) / self.rate
        self.left -= 1
        return 0.0


# ---------------------------------------------------------------- what comes in

Id = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(allow_inf_nan=False)]
Instant = Annotated[datetime | None, Field(description="an instant with its zone; left out, the server's clock")]


class GivenScore(BaseModel):
    """What is expected of an action for this customer."""

    model_config = ConfigDict(extra="forbid")
    p: Share
    value: Amount | None = None
    context: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0


class DecideRequest(BaseModel):
    """For whom to decide."""

    model_config = ConfigDict(extra="forbid")
    customer_id: Id
    at: Instant = None
    scores: Annotated[dict[str, GivenScore], Field(max_length=200)] = {}
    trigger: Annotated[str, Field(max_length=200)] | None = None
    mode: Literal["event", "agent"] = "event"


class EventRequest(BaseModel):
    """One event, with whatever else rules and triggers ask for."""

    model_config = ConfigDict(extra="allow")
    customer_id: Id
    timestamp: Instant = None
    event: Id
    channel: Id = "unknown"


class ObserveRequest(BaseModel):
    """Events, in the order in which they happened."""

    model_config = ConfigDict(extra="forbid")
    events: Annotated[list[EventRequest], Field(min_length=1, max_length=MOST_EVENTS)]


class OutcomeRequest(BaseModel):
    """What a customer did with a contact: seen, clicked, accepted, reject, ..."""

    model_config = ConfigDict(extra="forbid")
    decision_id: Id
    outcome: Id
    at: Instant = None
    value: Amount | None = None


class ContactRequest(BaseModel):
    """Whether a reserved contact was sent or will not be."""

    model_config = ConfigDict(extra="forbid")
    decision_id: Id
    status: Literal["sent", "released"]
    at: Instant = None


class OverrideRequest(BaseModel):
    """A human did otherwise."""

    model_config = ConfigDict(extra="forbid")
    decision_id: Id
    agent: Id
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    chosen: Annotated[str, Field(max_length=200)] | None = None
    at: Instant = None


def check_instant(at: datetime | None) -> datetime:
    """An instant of a request, or the clock's. Raises `SettingError` without a zone, or too far ahead."""
    now = datetime.now(UTC)
    if at is None:
        return now
    if at.tzinfo is None:
        raise SettingError("at", "it names no zone", "Write e.g. 2026-03-02T12:00:00Z.")
    if at > now + AHEAD:
        raise SettingError("at", "it is more than a day ahead of the server's clock", "Leave it out for now.")
    return at.astimezone(UTC)


def check_event(event: EventRequest) -> dict[str, Any]:
    """An event as the decider takes it. Raises `SettingError` for fields that are too many, too long, or no plain values."""
    more = event.model_extra or {}
    wrong = [name for name, value in more.items() if not isinstance(value, str | int | float | bool | None) or (isinstance(value, str) and len(value) > 4000)]
    if len(more) > 50 or wrong:
        raise SettingError("event", f"fields that are no plain values or too long: {wrong[:5]}" if wrong else "more than 50 fields", "Send plain values.")
    return {**more, "customer_id": event.customer_id, "event": event.event, "channel": event.channel, "timestamp": check_instant(event.timestamp)}


# ---------------------------------------------------------------- what goes out


def decision_as_values(decision: Decision) -> dict[str, Any]:
    """A decision as plain values, with reasons."""
    candidates = [
        {
            "action_id": one.action_id,
            "channel": one.channel,
            "rank": one.rank,
            "blocked_by": list(one.blocked_by),
            "next_allowed": as_text(one.next_allowed),
            "expected": one.priced_net,
            "why": decision.why(one.action_id),
        }
        for one in decision.candidates
    ]
    expires = None if decision.expires is None else as_text(datetime.fromtimestamp(decision.expires / 1e6, UTC))
    return {
        "decision_id": decision.decision_id,
        "customer_id": decision.customer_id,
        "at": as_text(decision.at),
        "chosen": decision.chosen,
        "propensity": decision.choice.propensity,
        "explored": decision.choice.explored,
        "reserved_until": expires,
        "policy_version": decision.policy.version,
        "candidates": candidates,
    }


def as_text(at: datetime | None) -> str | None:
    """An instant as ISO text in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def problem(status: int, title: str, detail: str = "", **more: str) -> JSONResponse:
    """An error as problem JSON."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


def status_of(error: MotkitError) -> int:
    """The status of a refusal: not there, in conflict with what is there, or a bad request."""
    text = "; ".join(error.faults)
    if isinstance(error, DesignError) or "holds no decision" in text:
        return 404
    if isinstance(error, LedgerError):
        return 503 if "the database says" in text else 409
    return 422


# ---------------------------------------------------------------- the application


class Guard:
    """Who may do what, and how often."""

    def __init__(self, keys: tuple[Key, ...], rate: float):
        self.keys, self.rate = keys, rate
        self.buckets = {key.name: Bucket(rate) for key in keys}
        self.strangers: dict[str, Bucket] = {}

    def let_in(self, given: str | None, client: str, what: str) -> str:
        """The name of the key, if it may. Raises `HTTPException` with 401, 403 or 429."""
        scheme, _, token = (given or "").partition(" ")
        asked = hash_key(token)
        found = [key for key in self.keys if hmac.compare_digest(key.hash, asked)] if scheme.lower() == "bearer" else []
        now = time.monotonic()
        if not found:
            if len(self.strangers) > 10_000:
                self.strangers.clear()
            self._pass(self.strangers.setdefault(client, Bucket(1.0)), now)
            raise HTTPException(401, "a key is needed: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        self._pass(self.buckets[found[0].name], now)
        if what not in ROLES[found[0].role]:
            raise HTTPException(403, f"a key of role {found[0].role} may not {what}")
        return found[0].name

    @staticmethod
    def _pass(bucket: Bucket, now: float) -> None:
        wait = bucket.take(now)
        if wait:
            raise HTTPException(429, "too many requests", {"Retry-After": str(max(1, round(wait)))})


class BodyLimit:
    """Refuses a body that is too long, or whose length is not said, before it is read."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self.refuse(Headers(scope=scope).get("content-length", ""), scope["method"]) if scope["type"] == "http" else None
        await (refused or self.app)(scope, receive, send)

    @staticmethod
    def refuse(announced: str, method: str) -> JSONResponse | None:
        """The answer to a request that goes no further."""
        if method in ("POST", "PUT", "PATCH") and not announced.isdigit():
            return problem(411, "Length Required", "say how long the body is")
        if announced.isdigit() and int(announced) > MOST_BYTES:
            return problem(413, "Content Too Large", f"a body has at most {MOST_BYTES:,} bytes")
        return None


def may(guard: Guard, what: str) -> Any:
    """The check of a route."""

    async def check(request: Request, authorization: Annotated[str | None, Header()] = None) -> str:  # short, so it needs no thread of its own
        return guard.let_in(authorization, request.client.host if request.client else "", what)

    return Depends(check)


def make_api(
    decider: Decider,  # with a ledger
    keys: tuple[Key, ...],  # of `read_keys`
    study: Any = None,  # for the card; None: the card of the ledger alone
    rate: float = 50.0,  # requests a second of one key
    card: Mapping[str, Any] | None = None,  # further arguments of `customer_card`
) -> FastAPI:
    """The application. Raises `SettingError` without a ledger."""
    if not isinstance(decider.ledger, Journal):
        raise SettingError("motkit serve --api", "the decider has no ledger", "Name one, e.g. --ledger sqlite:///ledger.db")
    api = FastAPI(title="motkit", version="1", description=__doc__ or "", docs_url=None, redoc_url=None, telemetry=NO_TELEMETRY)
    guard = Guard(keys, rate)
    add_decisions(api, decider, guard)
    add_answers(api, decider, decider.ledger, guard)
    add_reading(api, decider, decider.ledger, guard, study, card or {})
    add_errors(api)
    return api


IdempotencyKey = Annotated[str | None, Header(max_length=200, description="the same request, sent again with the same key, counts once")]


def add_decisions(api: FastAPI, decider: Decider, guard: Guard) -> None:
    """Routes that decide and observe."""

    @api.post("/v1/decide", summary="Decide for a customer now, and reserve")
    def decide(asked: DecideRequest, who: Annotated[str, may(guard, "decide")], idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
        usual = {action.action_id: action.value for action in decider.actions}
        unknown = sorted(set(asked.scores) - set(usual))
        if unknown:
            raise SettingError("scores", f"there are no actions {unknown[:5]}", "Name actions of the offers.")
        scores = {name: (one.p, usual[name] if one.value is None else one.value, one.context) for name, one in asked.scores.items()}
        key = f"{who}:decide:{idempotency_key}" if idempotency_key else None
        told = {"mode": asked.mode, "trigger": asked.trigger}
        return decision_as_values(decider.decide(asked.customer_id, check_instant(asked.at), scores or None, key, **told))

    @api.post("/v1/observe", summary="Take in events")
    def observe(asked: ObserveRequest, who: Annotated[str, may(guard, "observe")], idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
        events, fired = [check_event(event) for event in asked.events], []
        for place, event in enumerate(events):
            key = f"{who}:observe:{idempotency_key}:{place}" if idempotency_key else None
            fired += decider.observe(event, key)
        proposals = [{"trigger": f.trigger, "customer_id": f.customer_id, "at": as_text(f.at), "need": f.need, "expires_at": as_text(f.expires_at)} for f in fired]
        return {"observed": len(events), "fired": proposals}


def add_answers(api: FastAPI, decider: Decider, ledger: Journal, guard: Guard) -> None:
    """Routes that say what became of a decision."""

    @api.post("/v1/contact", summary="Say that a reserved contact was sent or released")
    def contact(asked: ContactRequest, who: Annotated[str, may(guard, "contact")]) -> dict[str, Any]:
        settle_contact(decider, asked.decision_id, asked.status, check_instant(asked.at))
        return {"decision_id": asked.decision_id, "status": asked.status}

    @api.post("/v1/outcome", summary="Say what a customer did")
    def outcome(asked: OutcomeRequest, who: Annotated[str, may(guard, "outcome")], idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
        content = {"event": asked.outcome} | ({} if asked.value is None else {"value": asked.value})
        key = f"{who}:outcome:{idempotency_key}" if idempotency_key else None
        entry = append_to_decision(ledger, asked.decision_id, "outcome", check_instant(asked.at), content, key)
        return {"decision_id": asked.decision_id, "outcome": asked.outcome, "fresh": entry.fresh}

    @api.post("/v1/override", summary="Say that a human did otherwise, and why")
    def override(asked: OverrideRequest, who: Annotated[str, may(guard, "override")]) -> dict[str, Any]:
        content = {"agent": asked.agent, "reason": asked.reason, "chosen": asked.chosen}
        append_to_decision(ledger, asked.decision_id, "override", check_instant(asked.at), content)
        return {"decision_id": asked.decision_id}


def add_reading(api: FastAPI, decider: Decider, ledger: Journal, guard: Guard, study: Any, more: Mapping[str, Any]) -> None:
    """Routes that read."""

    @api.get("/v1/card/{customer_id}", summary="One customer on one screen")
    def card(customer_id: str, who: Annotated[str, may(guard, "card")], at: datetime | None = None) -> dict[str, Any]:
        source = ledger if study is None else study
        return card_as_values(customer_card(source, customer_id, check_instant(at), decider=decider, ledger=ledger, **more))

    @api.get("/health", summary="Whether the process and its ledger live")
    def health() -> dict[str, str]:
        ledger.entries(["erased"])
        return {"status": "ok"}


def add_errors(api: FastAPI) -> None:
    """Limits of size, and every error as problem JSON."""
    api.add_middleware(BodyLimit)

    @api.exception_handler(500)
    async def unforeseen(request: Request, error: Exception) -> Response:  # the server's last resort, outside of all else
        print(f"motkit api: {type(error).__name__} on {request.method} {request.url.path.split('/card/')[0]}", file=sys.stderr, flush=True)
        return problem(500, "Internal Server Error", "something unforeseen; it is noted where the server runs")

    @api.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        made = problem(error.status_code, str(error.detail))
        made.headers.update(error.headers or {})
        return made

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}" for fault in error.errors()]
        return problem(422, "Unprocessable Content", "; ".join(faults[:20]))

    @api.exception_handler(MotkitError)
    async def told(request: Request, error: MotkitError) -> Response:
        return problem(status_of(error), error.about, f"{'; '.join(error.faults)}. {error.hint}")


# ---------------------------------------------------------------- the process


class _Server(uvicorn.Server):
    """A server that says where it is once it answers."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            print(f"Decisions are made at http://{host}:{port}/v1/decide (Ctrl+C ends it).", flush=True)


def serve_api(api: FastAPI, port: int, address: str = "127.0.0.1") -> None:
    """Serve until Ctrl+C. Raises `SettingError` if the port cannot be had."""
    config = uvicorn.Config(api, host=address, port=port, log_level="critical", access_log=False, server_header=False, limit_concurrency=200)
    try:
        _Server(config).run()
    except SystemExit:
        raise SettingError(f"port {port} on {address}", "it cannot be used", "Name another port, for instance: --port 5010") from None


def run_api(
    study: Path,  # the folder of a study: scores, profiles, consents, and facts for the card
    port: int,
    address: str,
    *,
    policy: Path | None,  # this and the next three: None for the study's own
    offers: Path | None,
    triggers: Path | None,
    promises: Path | None,
    ledger: str,
    keys: Path,
) -> None:
    """Serve decisions for the customers of a study. Raises `SettingError`, `StudyError`, `LedgerError`."""
    known, guards = open_study(study), read_keys(keys)
    decider = study_decider(known, Ledger(ledger), policy, offers, triggers)
    chosen = study_settings(known)
    card = {"triggers": triggers or chosen.triggers.file, "promises": promises or chosen.promises.file}
    api = make_api(decider, guards, known, card=card)
    Journal(ledger).entries(["erased"])  # an address that cannot be opened is told before anything is served
    serve_api(api, port, address)
