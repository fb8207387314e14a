"""Host threads: one call's tasks, split over a pool.

Kernels release the GIL, and their results do not depend on the split.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from .errors import InvalidConfigError

ENVIRONMENT = "RUVECTOR_ATTENTION_THREADS"
# Multiply-adds below which a second thread costs more than it saves: handing a task over takes some 30 µs.
WORTH_A_THREAD = 2_000_000

_count = 1
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _available() -> int:
    if sys.platform == "emscripten":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """How many threads a large call may use."""
    return _count


def set_threads(count: int) -> None:
    """Use up to ``count`` threads in a call from now on; 1 keeps everything in the calling thread.

    The start value is ``RUVECTOR_ATTENTION_THREADS``, else the number of processors.

    Raises:
        InvalidConfigError: count is not an integer of at least 1.
    """
    global _count
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidConfigError(f"threads is {count!r}; expected an integer of at least 1")
    _count = min(count, 256)


def run(call: Callable[[int, int], int], tasks: int, work: int, limit: int | None) -> int:
    """``call(start, stop)`` over all tasks, on as many threads as the work (in multiply-adds) deserves; the
    statuses or-ed together."""
    count = min(_count if limit is None else limit, tasks, work // WORTH_A_THREAD)
    if count <= 1:
        return call(0, tasks)
    bounds = [tasks * i // count for i in range(count + 1)]
    pool = _executor(count - 1)
    others = [pool.submit(call, start, stop) for start, stop in pairwise(bounds[1:])]
    status = call(0, bounds[1])
    for other in others:
        status |= other.result()
    return status


def _executor(workers: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < workers:
        _pool, _pool_size = ThreadPoolExecutor(workers, thread_name_prefix="ruvector-attention"), workers
    return _pool


def _forget_pool() -> None:
    """A forked child has the pool's object but not its threads."""
    global _pool
    _pool = None


def _start_value() -> int:
    setting = os.environ.get(ENVIRONMENT)
    if not setting:
        return _available()
    if not setting.isdigit() or int(setting) < 1:
        raise InvalidConfigError(f"{ENVIRONMENT} is {setting!r}; expected an integer of at least 1")
    return int(setting)


set_threads(_start_value())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
