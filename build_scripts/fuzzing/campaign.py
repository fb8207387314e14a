"""Processes that run cases, and the one that watches them: a case that ends its process is a finding like any other."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .options import Options

CASE, OPERATIONS, STARTED = range(3)  # what a process says of itself, in shared memory: it may not live to say more
REPORT_EVERY = 0.5  # seconds


def run(options: Options) -> int:
    """0 where nothing was found."""
    # the processes share the processors among themselves
    os.environ |= {"RUVECTOR_ATTENTION_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    import ruvector_attention as ra  # here: it reads them

    try:
        ra.use_backend(options.backend or ra.backend())
        if options.mechanism:
            ra.registry.get(options.mechanism)
    except ra.AttentionError as error:
        print(error, file=sys.stderr)
        return 2
    os.environ["RUVECTOR_ATTENTION_BACKEND"] = ra.backend()
    if options.leaks:
        return _lives(options)
    if options.only:
        return _again(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the processes are ended too
    watched = _Watched(options)
    try:
        watched.run()
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
    finally:
        watched.close()
    return watched.summary()


def _lives(options: Options) -> int:
    """How resident memory grew; 1 where it does all the time."""
    from . import leaks

    grown = leaks.growth(options.leaks, [options.mechanism] if options.mechanism else None)
    print(f"{options.leaks:,} lives, part by part: " + ", ".join(f"{size / 1e6:+.2f} MB" for size in grown))
    return 1 if leaks.leaks(grown, options.leaks) else 0


def _again(options: Options) -> int:
    """The chosen cases in this process, with all that there is to say of them."""
    from .cases import Case

    faulthandler.enable()
    failed = 0
    for number in options.only:
        case = Case(options.seed, number, options.mechanism)
        try:
            case.run()
            print(f"case {number}: {case.operations} operations, nothing found")
        except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
            failed += 1
            print(f"case {number}: " + "\n  ".join(case.trail))
            traceback.print_exc()
    return 1 if failed else 0


def _work(options: Options, first: int, step: int, state: Any, sender: Connection) -> None:
    """Cases first, first + step, ... until the watcher ends this process."""
    faulthandler.enable()
    from . import shadow, twins
    from .cases import Case

    refusals: Counter[tuple[str, str, str]] = Counter()
    reported = time.monotonic()
    number = first
    while True:
        state[CASE], state[STARTED] = number, time.monotonic()
        case = Case(options.seed, number, options.mechanism)
        try:
            case.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            sender.send(("finding", number, f"{type(error).__name__} in {where}: {error}", list(case.trail)))
        refusals.update(case.refusals)
        state[OPERATIONS] += case.operations
        number += step
        if time.monotonic() - reported > REPORT_EVERY:
            sender.send(("counted", refusals, shadow.called, shadow.compared, twins.compared))
            refusals, reported = Counter(), time.monotonic()
            for counter in (shadow.called, shadow.compared, twins.compared):
                counter.clear()


class _Watched:
    """The processes, what they found, and how far they are."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._lanes: list[_Lane] = [_Lane(self._context, options, index) for index in range(options.processes)]
        self._started = time.monotonic()
        self.findings: dict[str, list[int]] = {}
        self.refusals: Counter[tuple[str, str, str]] = Counter()
        self.called: Counter[str] = Counter()  # kernels, in cases that have them compared
        self.beside: Counter[str] = Counter()  # those compared with their float64 bodies
        self.twins: Counter[str] = Counter()  # forwards by another way

    @property
    def operations(self) -> int:
        return sum(lane.operations for lane in self._lanes)

    def run(self) -> None:
        shown = 0.0
        options = self._options
        while self.operations < options.operations and time.monotonic() - self._started < options.seconds:
            for connection in wait([lane.receiver for lane in self._lanes], timeout=0.25):
                self._receive(next(lane for lane in self._lanes if lane.receiver is connection))
            for lane in self._lanes:
                if reason := lane.ended(options.limit):
                    while lane.receiver.poll():
                        if not self._receive(lane):
                            break
                    self._found(lane.case, reason, [])
                    lane.restart()
            if time.monotonic() - shown > 1:
                self._show()
                shown = time.monotonic()
        self._show()
        print(flush=True)

    def _receive(self, lane: _Lane) -> bool:
        try:
            message = lane.receiver.recv()
        except (EOFError, OSError):
            time.sleep(0.1)  # it is ending; the lane says how
            return False
        if message[0] == "counted":
            counters: tuple[Counter[Any], ...] = (self.refusals, self.called, self.beside, self.twins)
            for counter, more in zip(counters, message[1:], strict=True):
                counter.update(more)
        else:
            self._found(*message[1:])
        return True

    def _found(self, number: int, sentence: str, trail: list[str]) -> None:
        known = self.findings.setdefault(_pattern(sentence), [])
        known.append(number)
        if len(known) <= 2:
            seed, backend = self._options.seed, self._options.backend
            again = f"--seed {seed}" + (f" --backend {backend}" if backend else "") + f" --only {number}"
            if self._options.mechanism:
                again += f" --mechanism {self._options.mechanism}"
            print("\n" + "\n    ".join([f"FOUND by {again}: {sentence}", *trail]), flush=True)

    def _show(self) -> None:
        done, total = self.operations, self._options.operations
        spent = time.monotonic() - self._started
        filled = min(30, 30 * done // max(total, 1))
        if sys.stdout.isatty():
            bar = "#" * filled + "." * (30 - filled)
            print(f"\r[{bar}] {done:,} operations, {done / max(spent, 1e-9):,.0f}/s, "
                  f"{len(self.findings)} findings ", end="", flush=True)  # fmt: skip

    def close(self) -> None:
        for lane in self._lanes:
            lane.end()

    def summary(self) -> int:
        spent = time.monotonic() - self._started
        options = self._options
        cases = sum(lane.case // options.processes for lane in self._lanes)
        print(f"{self.operations:,} operations in about {cases:,} cases of seed {options.seed} on "
              f"{options.backend or 'the best backend'}, {spent:.0f} s; "
              f"{sum(self.refusals.values()):,} typed errors; {len(self.findings)} findings")  # fmt: skip
        called, beside = (sum(counter.values()) for counter in (self.called, self.beside))
        print(f"compared: {beside:,} of {called:,} calls of kernels with float64, "
              f"{sum(self.twins.values()):,} forwards by another way")  # fmt: skip
        if options.refusals:
            for title, counter in (("kernels", self.beside), ("ways", self.twins)):
                print(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counter.most_common()))
            for (owner, what, sentence), count in self.refusals.most_common():
                print(f"{count:8,}  {owner}.{what}: {sentence}")
        for sentence, numbers in sorted(self.findings.items(), key=lambda entry: -len(entry[1])):
            print(f"{len(numbers):6} × {sentence[:200]}  (cases {', '.join(map(str, numbers[:4]))})")
        return 1 if self.findings else 0


def _pattern(sentence: str) -> str:
    """The same sentence of other numbers is the same finding."""
    return "".join("#" if character.isdigit() else character for character in sentence)[:160]


class _Lane:
    """One process, and those that follow it."""

    def __init__(self, context: Any, options: Options, index: int) -> None:
        self._context, self._options = context, options
        self._state = context.Array("d", [index, 0, 0], lock=False)
        self._start(index)

    def _start(self, first: int) -> None:
        self._state[STARTED] = time.monotonic() + 30  # the import takes a while
        self.receiver, sender = self._context.Pipe(duplex=False)
        given = (self._options, first, self._options.processes, self._state, sender)
        self._process = self._context.Process(target=_work, args=given, daemon=True)
        self._process.start()
        sender.close()

    @property
    def case(self) -> int:
        return int(self._state[CASE])

    @property
    def operations(self) -> int:
        return int(self._state[OPERATIONS])

    def ended(self, limit: float) -> str | None:
        """Why this process runs no further cases, if it does not."""
        if not self._process.is_alive():
            return f"the process ended with exit code {self._process.exitcode}"
        if time.monotonic() - self._state[STARTED] > limit:
            self._process.kill()
            self._process.join()
            return f"the case took longer than {limit:g} s"
        return None

    def restart(self) -> None:
        self.receiver.close()
        self._start(self.case + self._options.processes)

    def end(self) -> None:
        self._process.terminate()
        self._process.join(5)
