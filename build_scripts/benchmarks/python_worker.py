"""A process that answers requests (session.py) as JSON lines on standard input and output."""

from __future__ import annotations

import json
import os
import sys
import traceback

from .session import Session


def main() -> None:
    # Libraries print to standard output at will; the conversation keeps the real one for itself.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    session = Session()
    for line in sys.stdin:
        try:
            reply = session.handle(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its entry in the table
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
