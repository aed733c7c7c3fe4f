"""Inputs that nobody should send: good samples, spoilt in many ways, all drawn from seeds; and a count of what became of them."""

import random
import re
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from motkit.errors import MotkitError

NASTY_TEXT = (
    "", " ", "NA", "null", "None", "nan", "NaN", "inf", "-inf", "1e309", "-1", "0", "-0.0", "1e-320", "9" * 400, "0x10", "true", "1,5", "1_000",
    "1970-01-01", "9999-12-31T23:59:59Z", "0000-00-00", "-271821-04-20", "2026-03-29T02:30:00", "2026-02-30", "1772359200", "1772359200000", "99999999999999999999",
    "é", "日本語", "\u202eevil", "a\u0000b", "\ufeff", "👩‍👩‍👧", "i\u0307", "x" * 100_000, "'; DROP TABLE events; --", "{{ 7*7 }}", "../../etc/passwd", "=1+1", "<script>alert(1)</script>", "\\", '"', "'", "[", "{", "%s%n",
)  # fmt: skip
NUMBER, WORD, QUOTED = re.compile(rb"-?\d+(\.\d+)?"), re.compile(rb"[A-Za-z_]{2,}"), re.compile(rb'"[^"\n]*"')


def _swap(pattern: re.Pattern[bytes]) -> Callable[[bytes, random.Random], bytes]:
    """A way of putting a nasty text in place of one match."""

    def spoil(sample: bytes, chance: random.Random) -> bytes:
        found = list(pattern.finditer(sample))
        if not found:
            return sample
        one, text = chance.choice(found), chance.choice(NASTY_TEXT).encode("utf-8", "surrogatepass")
        return sample[: one.start()] + (b'"' + text + b'"' if pattern is QUOTED else text) + sample[one.end() :]

    return spoil


def _cut(sample: bytes, chance: random.Random) -> bytes:
    return sample[: chance.randrange(len(sample) + 1)]


def _flip(sample: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(sample)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if spoilt:
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def _insert(sample: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(sample) + 1)
    return sample[:at] + chance.choice(NASTY_TEXT).encode("utf-8", "surrogatepass") + sample[at:]


def _lines(sample: bytes, chance: random.Random) -> bytes:
    """Lines are doubled, dropped or put in another order; the first line, a header, too."""
    lines = sample.splitlines(keepends=True) or [b""]
    at = chance.choice((0, chance.randrange(len(lines))))
    match chance.randrange(4):
        case 0:
            lines.insert(at, lines[at])
        case 1:
            del lines[at]
        case 2:
            chance.shuffle(lines)
        case _:
            lines = lines * chance.choice((2, 50))
    return b"".join(lines)


def _recode(sample: bytes, chance: random.Random) -> bytes:
    text = sample.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "cp1252", "utf-7", "utf-8-sig")), "replace")


def _whole(sample: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"", b"\n", b"\x00" * 100, b"[]", b"{}", b"null", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1", b"<", b"[" * 2000, b'{"a":' * 2000, chance.randbytes(300)))


WAYS = (_swap(NUMBER), _swap(WORD), _swap(QUOTED), _cut, _flip, _insert, _lines, _recode, _whole)


def spoil(sample: bytes, seed: int) -> bytes:
    """A sample spoilt in one to three ways."""
    chance = random.Random(seed)
    for way in chance.choices(WAYS, k=chance.choice((1, 1, 2, 3))):
        sample = way(sample, chance)
    return sample


@dataclass(frozen=True)
class Door:
    """A place where input comes in: `enter` reads it, and raises `MotkitError` or nothing."""

    name: str
    samples: Sequence[bytes]
    enter: Callable[[bytes], object]


@dataclass
class Tally:
    """What became of the inputs of a door."""

    door: str
    tried: int = 0
    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    crashed: list[tuple[int, str]] = field(default_factory=list)  # seed, and what was raised


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` when a block takes longer."""

    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def is_clear(error: MotkitError) -> bool:
    """Whether an error names what it is about, what is wrong, and what to type."""
    return bool(error.about.strip() and error.hint.strip() and error.faults and all(fault.strip() for fault in error.faults)) and len(str(error)) < 12_000


@dataclass(frozen=True)
class Came:
    """What came of trying something: an answer, or motkit's own error, or what should be neither."""

    answer: Any = None
    refused: str = ""  # the kind of the error
    wrong: str = ""  # also of an error that is not clear


def attempt(do: Callable[[], Any], seconds: int = 30) -> Came:
    """Try something; motkit's own clear errors and answers are right, anything else is told with its place."""
    try:
        with at_most(seconds):
            return Came(do())
    except MotkitError as error:
        return Came(refused=type(error).__name__, wrong="" if is_clear(error) else f"unclear: {error}"[:300])
    except BaseException as error:  # a panic of polars is no `Exception`
        if isinstance(error, KeyboardInterrupt):
            raise
        return Came(wrong=f"{type(error).__name__}: {str(error)[:200]} @ {last_place(error)}")


def last_place(error: BaseException) -> str:
    """Where in motkit it was raised."""
    places = [place for place in traceback.extract_tb(error.__traceback__) if "/motkit/" in place.filename]
    return f"{Path(places[-1].filename).stem}:{places[-1].lineno} {places[-1].line}" if places else "outside"


def knock(door: Door, tries: int, first: int = 0) -> Tally:
    """Send spoilt inputs to a door; each must be read, or refused by a clear error."""
    tally = Tally(door.name)
    for seed in range(first, first + tries):
        given = spoil(door.samples[seed % len(door.samples)], seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            came = attempt(partial(door.enter, given))
        tally.tried += 1
        tally.read += not came.refused and not came.wrong
        tally.refused.update([came.refused] if came.refused else [])
        tally.crashed += [(seed, came.wrong)] if came.wrong else []
    return tally
