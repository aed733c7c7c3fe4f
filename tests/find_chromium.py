"""See that the browser tests find Chromium: look on the PATH, else install Debian's if that may be done, else say what to type."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The browser's path, if one is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def main() -> int:
    """Exit code 0 with a browser at hand, 1 without one."""
    if find_chromium():
        return 0
    may_install = shutil.which("apt-get") and os.geteuid() == 0
    if may_install:
        print("Installing Debian's Chromium for the browser tests.", flush=True)
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if find_chromium():
        return 0
    print("The browser tests need Chromium. On Debian or Ubuntu type: sudo apt-get install chromium", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
