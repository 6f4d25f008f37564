#!/usr/bin/env python3
"""Kills the server under load with SIGKILL, again and again, and looks at how it comes back.

Each round: start; the folder of temporary files holds nothing of earlier rounds; the first answer is right, word for
word; several clients upload whole, broken and endless recordings; after a random time the process is killed. Prints
a table; fails when anything is not as it must be. Needs nothing beyond Python.
"""

import argparse
import http.client
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from clients import AUDIO, CONTENT_TYPE, TRANSCRIPTIONS, form, head
from server import PROGRAM, ROOT, Server

RECORDING = (AUDIO / "hello.flac").read_bytes()
TEXT = (ROOT / "fixtures/expected/hello.txt").read_text().strip()
# A start on this machine may take so long, from nothing to the first accepted request.
START_WITHIN_S = 2.0
# Longest time for anything, after which the round has failed.
PATIENCE_S = 120
CLIENTS = 6


def upload(recording):
    """A form with the default model and `recording`."""
    return form({"model": "whisper-1", "response_format": "text"}, "a.flac", recording)


def post(server, body):
    """Status and text of the answer to a whole form."""
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE_S)
    try:
        connection.request("POST", TRANSCRIPTIONS, body, {"Content-Type": CONTENT_TYPE})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def begin(server, body, declared):
    """An upload that stops in the middle; gives its connection."""
    stream = socket.create_connection(server.address, timeout=PATIENCE_S)
    stream.sendall(head(declared) + body)
    return stream


def start(program, base):
    return Server(base, program, offline="true", bundled_models_dir=ROOT / "models")


class Load:
    """Clients that upload at random until the server is gone."""

    def __init__(self, server, seed):
        self.server = server
        self.over = threading.Event()
        self.answers = {}
        self.wrong = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._client, args=(seed * 100 + i,)) for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _client(self, seed):
        choice = random.Random(seed)
        whole = upload(RECORDING)
        while not self.over.is_set():
            try:
                kind = choice.choice(["whole", "whole", "broken", "vanishing", "endless"])
                if kind == "whole":
                    self._note(*post(self.server, whole))
                elif kind == "broken":
                    self._note(*post(self.server, upload(RECORDING[: choice.randrange(len(RECORDING))])), False)
                elif kind == "vanishing":
                    cut = choice.randrange(len(whole))
                    begin(self.server, whole[:cut], len(whole)).close()
                else:
                    connection = begin(self.server, whole[:-50], 1 << 30)
                    for _ in range(choice.randrange(40)):
                        connection.sendall(choice.randbytes(100_000))
                        if self.over.wait(0.01):
                            break
                    connection.close()
            except (OSError, http.client.HTTPException):
                # Refused with its upload unread, or the server has been killed.
                self.over.wait(0.02)

    def _note(self, status, text, is_whole=True):
        with self.lock:
            self.answers[status] = self.answers.get(status, 0) + 1
            if status >= 500 and status != 503:
                self.wrong.append(f"an answer of {status}: {text[:200]}")
            if is_whole and status == 200 and text.strip() != TEXT:
                self.wrong.append(f"wrong words: {text[:200]}")

    def end(self):
        """Waits for the clients."""
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)


def left_files(folder):
    """Files below `folder`."""
    return sum(len(files) for _, _, files in os.walk(folder))


def one_round(program, base, seed):
    """One life of the server: its row of the table, and what was wrong."""
    wrong = []
    folder = base / "temporary"
    before = set(os.listdir(folder))
    server = start(program, base)
    stale = before & set(os.listdir(folder))
    files = left_files(folder)
    if stale or files:
        wrong.append(f"left from the round before: {sorted(stale)}, {files} files")
    started = time.monotonic()
    status, text = post(server, upload(RECORDING))
    first_s = time.monotonic() - started
    if status != 200 or text.strip() != TEXT:
        wrong.append(f"first answer {status}: {text[:300]}")
    load = Load(server, seed)
    lived_s = random.Random(seed).uniform(0.0, 3.0)
    time.sleep(lived_s)
    alive = server.process.poll() is None
    if not alive:
        wrong.append("the server had ended by itself:\n" + server.log.read_text()[-600:])
    left = left_files(folder)
    server.process.kill()
    server.process.wait()
    load.end()
    row = (lived_s, sum(load.answers.values()), left, server.ready_s, first_s)
    return row, wrong + load.wrong


def main():
    """Runs all rounds and tells how they went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, default=PROGRAM)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-clock", action="store_true", help="print start-up times and do not judge them")
    options = parser.parse_args()

    base = Path(tempfile.mkdtemp(prefix="soak-kill-"))
    folder = base / "temporary"
    folder.mkdir()
    rows, wrong = [], []
    print("round  killed after  answers  files left  start to ready  first answer")
    try:
        for number in range(1, options.kills + 1):
            row, found = one_round(options.program, base, options.seed * 1000 + number)
            rows.append(row)
            lived_s, answers, left, ready_s, first_s = row
            print(
                f"{number:5}  {lived_s:10.2f} s  {answers:7}  {left:10}  {ready_s:12.2f} s  {first_s:10.2f} s",
                flush=True,
            )
            if ready_s > START_WITHIN_S and not options.no_clock:
                found.append(f"the start took {ready_s:.2f} s")
            wrong += [f"round {number}: {what}" for what in found]
        # One more start, which only has to clean up, and a stop, which leaves nothing.
        code = start(options.program, base).stop()
        if code != 0 or os.listdir(folder):
            wrong.append(f"after the last stop: code {code}, {os.listdir(folder)}")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    starts = sorted(row[3] for row in rows)
    print(
        f"{len(rows)} kills, {sum(row[1] for row in rows)} answers under load, "
        f"{sum(row[2] for row in rows)} files left by kills; start to ready: median "
        f"{starts[len(starts) // 2]:.2f} s, longest {starts[-1]:.2f} s"
    )
    for what in wrong:
        print("WRONG", what)
    print("failed" if wrong else "all starts clean, all first answers right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
