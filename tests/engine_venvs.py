"""Make the two environments of the engine tests: Sail's with Spark Connect's client, and Spark's own; they do not share one.

Both see the packages of the environment that runs this, so that each holds little of its own. What cannot be installed
is told, and the tests that need it skip.
"""

import subprocess
import sysconfig
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENGINES = {"sail": ("pysail==0.7.2", "pyspark-client==4.2.0", "deltalake==1.6.6"), "spark": ("pyspark==4.3.0",)}


def python_of(engine: str) -> Path:
    """The Python of an engine's environment."""
    return ROOT / f".venv-{engine}" / "bin" / "python"


def is_ready(engine: str) -> bool:
    """Whether the environment was set up, with these versions."""
    stamp = ROOT / f".venv-{engine}" / ".installed"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == " ".join(ENGINES[engine])


def make(engine: str) -> bool:
    """Set up the environment of an engine; False where its packages cannot be had."""
    folder = ROOT / f".venv-{engine}"
    venv.create(folder, with_pip=True, clear=True)
    own = Path(subprocess.run([python_of(engine), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True).stdout.strip())
    (own / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    done = subprocess.run([python_of(engine), "-m", "pip", "install", "-q", *ENGINES[engine]], check=False, capture_output=True, text=True)
    if done.returncode == 0:
        (folder / ".installed").write_text(" ".join(ENGINES[engine]), encoding="utf-8")
    return done.returncode == 0


def main() -> None:
    """Set up what is missing, both at once: most of the time is spent waiting for downloads."""
    missing = [engine for engine in ENGINES if not is_ready(engine)]
    for engine in missing:
        print(f"Setting up .venv-{engine} with {' and '.join(ENGINES[engine])} for the tests of that engine.", flush=True)
    with ThreadPoolExecutor() as pool:
        for engine, made in zip(missing, pool.map(make, missing), strict=True):
            if not made:
                print(f"They cannot be installed here, so the tests of {engine} will skip.", flush=True)


if __name__ == "__main__":
    main()
