"""The run itself, in the project's Python: fuzz.py has set everything up."""

from __future__ import annotations

import sys

from . import campaign, options


def main() -> int:
    return campaign.run(options.parse(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
