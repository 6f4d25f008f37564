#!/usr/bin/env python3
"""Half an hour of everything at once: good, broken, huge, slow and vanishing requests from sixteen clients.

    tests/soak/soak.py [--minutes 30] [--clients 16] [--warm-up 4] [--seed 1]

Every good request must be answered right; nothing may be answered with 5xx but 503 with Retry-After; afterwards no
temporary file, thread, file handle or place may be missing, and anonymous memory must not have grown by 1 MiB a
minute. Needs the built program and Python's standard library. Exit code 1 and a list of what was wrong otherwise.
"""

import argparse
import collections
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from clients import BODY_TIMEOUT_S, MAX_DURATION_S, MAX_UPLOAD, Client, Wrong, form, recordings
from server import Sample, Server, Watch, slope_mib_per_minute

MAX_RUNNING, MAX_WAITING = 4, 6  # fewer places than clients, so that some are refused
SETTLE_S = 45  # longer than idle threads of the runtime live
GROWTH_LIMIT_MIB_PER_MINUTE = 1.0
SPARE_HANDLES = 6  # detectors and pipes that idle requests keep


class Crowd:
    """Clients, each on a thread of its own."""

    def __init__(self, server: Server, count: int, seed: int):
        known = recordings()
        self.clients = [Client(server.address, seed * 1000 + number, known) for number in range(count)]
        self.tally, self.wrong = collections.Counter(), []
        self.lock = threading.Lock()

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._live, args=(client, until)) for client in self.clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _live(self, client: Client, until: float) -> None:
        while time.monotonic() < until:
            kind = ""
            try:
                kind, outcome = client.step()
            except Wrong as error:
                outcome = "WRONG"
                self._note(str(error))
            except Exception:  # noqa: BLE001 - a refused connection or an answer that is no HTTP counts as wrong too
                outcome = "WRONG"
                self._note(traceback.format_exc(limit=-4))
            with self.lock:
                self.tally[f"{kind} {outcome}".strip()] += 1

    def _note(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)


def settled(server: Server) -> Sample:
    """The process when nothing is asked of it any more."""
    time.sleep(SETTLE_S)
    return server.sample()


def all_places_are_free(server: Server) -> bool:
    """Whether as many requests as there are places are taken at the same time."""
    known, refused = recordings()[0], []

    def ask(client: Client) -> None:
        answer = client.post(form({"model": "whisper-1"}, known.name, known.data))
        if answer.status != 200:
            refused.append(answer.status)

    clients = [Client(server.address, number, [known]) for number in range(MAX_RUNNING + MAX_WAITING)]
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return not refused


def verdict(server: Server, before: Sample, after: Sample, samples: list[Sample], wrong: list[str]) -> list[str]:
    """Everything that must not be."""
    found = list(wrong)
    slope = slope_mib_per_minute(samples)
    print(f"anonymous memory: {before.anonymous_mib:.1f} MiB idle before, {after.anonymous_mib:.1f} after, ", end="")
    print(f"at most {max(s.anonymous_mib for s in samples):.1f}; slope {slope:+.3f} MiB a minute (limit {GROWTH_LIMIT_MIB_PER_MINUTE})")
    print(f"threads: {before.threads} idle before, {after.threads} after, at most {max(s.threads for s in samples)}")
    print(f"handles: {before.files} idle before, {after.files} after, at most {max(s.files for s in samples)}")
    print(f"temporary files: {after.temporary} left, at most {max(s.temporary for s in samples)}", end="")
    print(f" with {max(s.temporary_mib for s in samples):.1f} MiB")
    if slope >= GROWTH_LIMIT_MIB_PER_MINUTE:
        found.append(f"memory grows by {slope:.2f} MiB a minute")
    if after.threads > before.threads:
        found.append(f"{after.threads - before.threads} threads are left")
    if after.files > before.files + SPARE_HANDLES:
        found.append(f"{after.files - before.files} handles are left")
    if after.temporary:
        found.append(f"{after.temporary} temporary files are left")
    if not all_places_are_free(server):
        found.append("places are lost: fewer requests are taken at once than the settings say")
    log = server.log.read_text(errors="replace")
    found += [line for line in log.splitlines() if "panicked" in line]
    code = server.stop()
    if code != 0:
        found.append(f"SIGTERM ended the idle server with {code}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--warm-up", type=float, default=4, help="minutes before counting begins")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="diarist-soak-") as folder:
        limits = dict(max_upload_bytes=MAX_UPLOAD, max_duration_s=MAX_DURATION_S, body_timeout_s=BODY_TIMEOUT_S)
        server = Server(Path(folder), max_running=MAX_RUNNING, max_waiting=MAX_WAITING, **limits)
        try:
            warm = Crowd(server, options.clients, options.seed + 1)
            warm.run(options.warm_up * 60)
            before = settled(server)
            crowd, watch = Crowd(server, options.clients, options.seed), Watch(server, every_s=5)
            watch.start()
            crowd.run(options.minutes * 60)
            samples = watch.stop()
            after = settled(server)
            for name, count in sorted((warm.tally + crowd.tally).items()):
                print(f"{count:7}  {name}")
            found = verdict(server, before, after, samples, warm.wrong + crowd.wrong)
        finally:
            if server.process.poll() is None:
                server.process.kill()
        for what in found[:50]:
            print("WRONG:", what)
        if found:
            print(server.log.read_text(errors="replace")[-3000:])
    print(f"{len(found)} things were wrong" if found else "nothing was wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
