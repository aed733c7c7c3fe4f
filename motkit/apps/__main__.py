"""`python -m motkit.apps STUDY --port 5006` serves the pages of a study."""

import argparse
import sys

from motkit.apps import HOST, PORT, Serving, serve
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
    parser.add_argument("--auth", metavar="FILE", help="who may enter, with roles and hashed passwords; left out, everybody sees sums")
    parser.add_argument("--num-procs", type=int, default=1, help="server processes (default: %(default)s)")
    parser.add_argument("--prefix", default="", help="path under which a proxy shows the pages")
    parser.add_argument("--behind-proxy", action="store_true", help="believe a proxy's headers about who asks")
    parser.add_argument("--ledger", default="", help="address of the ledger that the customer card shows, e.g. sqlite:///ledger.db; needs --auth")
    parser.add_argument("--quiet", action="store_true", help="write no line a request")
    chosen = parser.parse_args(arguments)
    how = Serving(chosen.auth, chosen.num_procs, chosen.prefix, chosen.behind_proxy, not chosen.quiet, chosen.ledger)
    try:
        serve(chosen.study, chosen.port, chosen.address, chosen.open, chosen.allow, how)
    except MotkitError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
