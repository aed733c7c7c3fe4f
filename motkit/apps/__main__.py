"""`python -m motkit.apps STUDY --port 5006` serves the pages of a study."""

import argparse
import sys

from motkit.apps import HOST, PORT, serve
from motkit.errors import MotkitError

__all__ = ["main", "serve"]


def main(arguments: list[str] | None = None) -> int:
    """Serve a study. 0 when it ended well, 2 with one paragraph on standard error when it cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m motkit.apps", description="Serve the pages of a study.")
    parser.add_argument("study", help="the folder of a study")
    parser.add_argument("--port", type=int, default=PORT, help="0 takes any that is free (default: %(default)s)")
    parser.add_argument("--address", default=HOST, help="0.0.0.0 shows it to the network, without a login (default: %(default)s)")
    parser.add_argument("--allow", action="append", default=[], metavar="HOST:PORT", help="a further address that readers type to come here; may be repeated")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    chosen = parser.parse_args(arguments)
    try:
        serve(chosen.study, chosen.port, chosen.address, chosen.open, chosen.allow)
    except MotkitError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
