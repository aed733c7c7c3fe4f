"""Spark itself: a master and two workers on this machine, one of which is killed in the middle of the work."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from engines import environment, read, start, write_logs
from postgres_fixture import free_port

CONFIGURED = """
spark.ui.enabled false
spark.driver.host 127.0.0.1
spark.driver.bindAddress 127.0.0.1
spark.driver.memory 512m
spark.executor.memory 512m
spark.sql.shuffle.partitions 2
spark.cores.max 2
spark.sql.codegen.wholeStage false
spark.sql.codegen.factoryMode NO_CODEGEN
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.executor.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.scheduler.minRegisteredResourcesRatio 1.0
spark.scheduler.maxRegisteredResourcesWaitingTime 120s
"""


def has_java_17() -> bool:
    """Is there a Java that Spark 4 takes?"""
    java = shutil.which("java")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr if java else ""
    return any(f'version "{number}' in said for number in (17, 21))


class Cluster:
    """A master and two workers of one core each, in a folder of their own."""

    def __init__(self, folder: Path, stack: ExitStack):
        if not has_java_17():
            pytest.skip("there is no Java 17 or 21, so Spark is not tried; on Debian type: apt-get install openjdk-17-jre-headless")
        (folder / "conf").mkdir()
        (folder / "conf" / "spark-defaults.conf").write_text(CONFIGURED, encoding="utf-8")
        self.more = {"SPARK_CONF_DIR": str(folder / "conf"), "SPARK_WORKER_DIR": str(folder / "work"), "SPARK_LOCAL_IP": "127.0.0.1"}
        self.more["SPARK_DAEMON_JAVA_OPTS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # quick to start; nothing here runs for long
        self.variables, self.folder, self.stack, self.port = environment("spark", **self.more), folder, stack, free_port()
        self.home = next((Path(self.variables["PYSPARK_PYTHON"]).parent.parent / "lib").glob("python3*/site-packages/pyspark"))
        self.start("master.Master", "--host", "127.0.0.1", "--port", str(self.port))
        self.wait_for_master()
        self.workers = [self.start("worker.Worker", self.address, "-c", "1", "-m", "1g", "--host", "127.0.0.1") for _ in range(2)]

    @property
    def address(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part of Spark in a group of its own, which ends with the test."""
        log = self.stack.enter_context((self.folder / f"{what}.log").open("ab"))
        command = [self.home / "bin" / "spark-class", f"org.apache.spark.deploy.{what}", *arguments, "--webui-port", str(free_port())]
        process = subprocess.Popen(command, env=self.variables, stdout=log, stderr=log, start_new_session=True)
        self.stack.callback(end, process)
        return process

    def wait_for_master(self) -> None:
        for _ in range(600):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "master.Master.log").read_text()[-2000:])


def end(process: subprocess.Popen[Any]) -> None:
    """Kill -9 a process and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("spark"), stack)


def kill_when_busy(worker: subprocess.Popen[bytes], folder: Path, asked: subprocess.Popen[str]) -> None:
    """Wait until a task is at work on each of the two workers, kill -9 one of them, and let the others go on."""
    while len(list(folder.glob("busy-*"))) < 2:
        assert asked.poll() is None, (asked.stderr.read() if asked.stderr else "")[-3000:]
        time.sleep(0.1)
    end(worker)
    (folder / "go").touch()


@pytest.mark.timeout(900)
def test_a_worker_that_is_killed_costs_time_and_not_rows(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_logs(tmp_path)
    with start("spark", cluster.address, folder, "killed", **cluster.more) as asked:
        kill_when_busy(cluster.workers[0], folder, asked)
        found = read(asked, 600)
    assert found == dict.fromkeys(("sessions while a worker is killed", "ingest", "transitions: log", "funnel: store"), "")
    assert cluster.workers[0].returncode == -signal.SIGKILL
