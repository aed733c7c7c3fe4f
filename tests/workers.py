"""Who runs which test when there are several workers: a file stays with one, so that what it computes once is computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ONE_STUDY = {"test_onboarding_views": "demo", "test_one_number": "demo", "test_every_view": "small demo", "test_pages_in_browser": "small demo", "test_accessible": "small demo"}  # files that share a study stay with one worker
LONG = ("test_study", "test_pages_in_browser", "test_every_view", "test_accessible", "test_onboarding_views", "test_one_number", "test_cli")  # begin with these, so that no worker is alone with one at the end
ONE_BY_ONE = "test_notebooks"  # short and many: they come last, so that the workers end together


def scope_of(nodeid: str) -> str:
    """What stays together with a test."""
    stem = Path(nodeid.split("::")[0]).stem
    return nodeid if stem == ONE_BY_ONE else ONE_STUDY.get(stem, stem)


def place_of(item: pytest.Item) -> int:
    """Smaller numbers begin earlier."""
    stem = item.path.stem
    return LONG.index(stem) if stem in LONG else len(LONG) + (stem == ONE_BY_ONE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, notebooks last; the order within a file stays."""
    items.sort(key=place_of)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests by `scope_of`, in the order of collection; marks of groups do not reach the workers with this pytest."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False
    return ByFile(config, log)
