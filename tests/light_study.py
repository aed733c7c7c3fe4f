"""Studies with a few of their stages, for tests that read no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from motkit.stages import STAGES
from motkit.study import Study, run_study


@contextmanager
def stages(names: set[str]) -> Iterator[None]:
    """Studies have the named stages only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motkit.study.STAGES", tuple(stage for stage in STAGES if stage.name in names))
        yield


def run_stages(names: set[str], settings: Any, events: Any, out: Path, **more: Any) -> Study:
    """A study of the named stages only."""
    with stages(names):
        return run_study(settings, events, out, progress=False, **more)
