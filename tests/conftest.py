"""What all tests share: every notebook is a test, real data come by `MOTKIT_DATA` alone, Chromium is Debian's."""

import os
from pathlib import Path

import pytest

from motkit.study import Study, run_demo

pytest_plugins = ["browser_fixtures", "postgres_fixture", "workers"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it say so when it is not set."""
    folder = os.environ.get("MOTKIT_DATA")
    if not folder:
        pytest.skip("MOTKIT_DATA is not set, so real data are not tried")
    return Path(folder)


@pytest.fixture(scope="session")
def demo_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The demo with 2,000 simulated customers, computed once: the rate of leaving doubles after day 14."""
    return run_demo(tmp_path_factory.mktemp("demo"), progress=False)


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The demo with 700 customers in a folder `demo-study`, which has the tables of all pages."""
    return run_demo(tmp_path_factory.mktemp("small") / "demo-study", customers=700, progress=False)
