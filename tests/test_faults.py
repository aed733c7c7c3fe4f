"""Faults: killed processes, full disks, missing files, a clock that goes back, a database that is gone; nothing good is lost, and it is told."""

import gc
import os
import shutil
from pathlib import Path

import pytest
from faults import FAULTS, Fault, database_gone

QUICK = [fault for fault in FAULTS if "killed" not in fault.what or "`moments`" in fault.what or "`record`" in fault.what]


@pytest.mark.parametrize("fault", QUICK, ids=[fault.what for fault in QUICK])
def test_after_a_fault_what_was_good_is_there(fault: Fault, tmp_path: Path) -> None:
    if "may only be read" in fault.what and os.geteuid() == 0 and not shutil.which("unshare"):
        pytest.skip("root writes everywhere, and there is no unshare to mount a folder for reading only")
    fault.do(tmp_path)


@pytest.mark.postgres
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the driver does not close a line that was cut
def test_a_database_that_is_gone_for_a_while_loses_nothing(tmp_path: Path) -> None:
    database_gone(tmp_path)
    gc.collect()
