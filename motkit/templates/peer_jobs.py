"""One job of one peer, in a process of its own: python peer_jobs.py PEER JOB LOG STEPS prints what it took as JSON.

It runs in the environment that the benchmark makes. No connection is let through, and how many were tried is counted."""

import json
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {"RETENTIONEERING_NO_TRACK": "1", "DO_NOT_TRACK": "1", "PM4PY_SHOW_PROGRESS_BAR": "0"}
TRIED: list[str] = []


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Let no connection through, and note it."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        TRIED.append(event)
        raise ConnectionRefusedError(f"the benchmark lets no connection through: {event}")


sys.addaudithook(refuse)
import pandas as pd  # noqa: E402


def read_frame(log: str) -> pd.DataFrame:
    """The columns that all jobs need."""
    return pd.read_parquet(log, columns=["customer_id", "timestamp", "event"])


def ordered(log: str) -> pd.DataFrame:
    """Rows by customer and time, with whole-number codes."""
    frame = read_frame(log)
    frame["customer"], frame["event"] = frame["customer_id"].astype("category").cat.codes, frame["event"].astype("category")
    return frame.sort_values(["customer", "timestamp"], kind="stable", ignore_index=True)


def pandas_sessions(log: str, steps: list[str]) -> int:
    frame = ordered(log)
    new = (frame["customer"] != frame["customer"].shift()) | (frame["timestamp"].diff() > pd.Timedelta("30min"))
    groups = frame.groupby(new.cumsum())
    return len(groups.agg(customer=("customer", "first"), start=("timestamp", "min"), end=("timestamp", "max"), n=("event", "size")))


def pandas_transitions(log: str, steps: list[str]) -> int:
    frame = ordered(log)
    same = frame["customer"] == frame["customer"].shift(-1)
    pairs = frame["event"].cat.codes.astype("int64") * 1000 + frame["event"].cat.codes.shift(-1)
    return int(pairs[same].value_counts().sum())


def pandas_matrix(log: str, steps: list[str]) -> int:
    frame = ordered(log)
    step = frame.groupby("customer").cumcount()
    first = frame[step < 10]
    return int(first.groupby([step[step < 10], "event"], observed=True).size().sum())


def pandas_funnel(log: str, steps: list[str]) -> int:
    frame = ordered(log)
    reached, after = 0, pd.Series(dtype="datetime64[us, UTC]")
    for number, step in enumerate(steps):
        rows = frame[frame["event"] == step]
        if number:
            rows = rows[rows["timestamp"] > rows["customer"].map(after)]
        after = rows.groupby("customer")["timestamp"].min()
        reached += len(after)
    return reached


def stream_of(log: str) -> Any:
    """retentioneering's eventstream, built."""
    return retentioneering.Eventstream(read_frame(log), schema={"path_cols": ["customer_id"], "event_col": "event", "timestamp_col": "timestamp"})


def retentioneering_sessions(stream: Any, steps: list[str]) -> int:
    return int(stream.split_sessions(timeout="30m").to_dataframe()["session_id"].nunique())


def retentioneering_transitions(stream: Any, steps: list[str]) -> int:
    counts = stream.transition_graph_data("count")
    real = [name for name in counts.columns if not str(name).startswith("path_")]
    return int(counts.loc[[name for name in counts.index if name in real], real].to_numpy().sum())


def retentioneering_matrix(stream: Any, steps: list[str]) -> int:
    shares = stream.step_matrix_data(max_steps=10)
    shares = shares[0] if isinstance(shares, (list, tuple)) else shares
    shares = next(iter(shares.values())) if isinstance(shares, dict) else shares
    real = [name for name in shares.index if not str(name).startswith("path_")]
    paths = int(stream.to_dataframe()["customer_id"].nunique())
    return round(float(shares.loc[real].to_numpy().sum()) * paths)


def retentioneering_funnel(stream: Any, steps: list[str]) -> int:
    found = stream.funnel_data(steps=steps)
    return sum(int(step["unique_paths"]) for step in found["steps"])


def pm4py_transitions(log: str, steps: list[str]) -> int:
    frame = pm4py.format_dataframe(read_frame(log), case_id="customer_id", activity_key="event", timestamp_key="timestamp")
    return int(sum(pm4py.discover_dfg(frame)[0].values()))


def peak_mb() -> float:
    """The largest memory that this process has held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_s() -> float:
    """Processor time of this process and of those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    peer, job, log, steps = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4].split(",")
    if peer == "pm4py":
        import pm4py
    if peer == "retentioneering":
        import retentioneering
    before, wall, cpu = peak_mb(), time.perf_counter(), cpu_s()
    given = stream_of(log) if peer == "retentioneering" else log
    built = cpu_s() - cpu
    answer = globals()[f"{peer}_{job}"](given, steps)
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu, "build_cpu_s": built, "memory_mb": peak_mb() - before}
    print(json.dumps({"answer": answer, **took, "connections": len(TRIED)}))
