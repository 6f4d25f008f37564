"""The server under test, and what the system says of its process."""

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 120
LISTENING = re.compile(rb"listening on http://([\d.]+):(\d+)")
READY = b" ready "  # with spaces: the line that says so
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/diarist"


@dataclass(frozen=True)
class Sample:
    """The process at one moment."""

    at_s: float
    anonymous_mib: float
    threads: int
    files: int  # open handles of every kind
    temporary: int  # entries of the folder of temporary files, and open files that have no name
    temporary_mib: float


class Server:
    """`diarist serve` on a free port, with its log in `folder`."""

    def __init__(self, folder: Path, program: Path = PROGRAM, **settings: str | int):
        self.program, self.folder, self.temporary = program, folder, folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.settings = dict(listen="127.0.0.1:0", temp_dir=self.temporary, log_format="text") | settings
        self.log = folder / "server.log"
        self.begun = time.monotonic()
        self.start()

    def start(self) -> None:
        kept = lambda name: not name.startswith("DIARIST_") or name == "DIARIST_ONNXRUNTIME"
        environment = {name: value for name, value in os.environ.items() if kept(name)}
        environment |= {f"DIARIST_{name.upper()}": str(value) for name, value in self.settings.items()}
        with open(self.log, "ab") as log:
            where = log.tell()
            self.process = subprocess.Popen(
                [self.program, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self.address = self._address(where)

    def _address(self, where: int) -> tuple[str, int]:
        """Host and port, as the log tells them after byte `where`, once the server is ready."""
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until:
            said = self.log.read_bytes()[where:]
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}:\n{said.decode()}")
            if READY in said and (found := LISTENING.search(said)):
                self.ready_s = time.monotonic() - self.begun
                return found[1].decode(), int(found[2])
            time.sleep(0.01)
        raise SystemExit("the server did not become ready in time")

    def stop(self) -> int:
        """Ends it by SIGTERM: its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)

    def sample(self) -> Sample:
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
        links = [_link(path) for path in (proc / "fd").iterdir()]
        nameless = [link for link in links if link and link.startswith(str(self.temporary)) and link.endswith("(deleted)")]
        named = [path for path in self.temporary.rglob("*") if path.is_file()]
        return Sample(
            at_s=time.monotonic() - self.begun,
            anonymous_mib=int(status["RssAnon"].split()[0]) / 1024,
            threads=int(status["Threads"]),
            files=sum(link is not None for link in links),
            temporary=len(named) + len(nameless),
            temporary_mib=sum(_size(path) for path in named) / 2**20,
        )


class Watch(threading.Thread):
    """Takes a sample every few seconds until it is stopped."""

    def __init__(self, server: Server, every_s: float):
        super().__init__(daemon=True)
        self.server, self.every_s = server, every_s
        self.samples: list[Sample] = []
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(self.every_s):
            try:
                self.samples.append(self.server.sample())
            except (FileNotFoundError, ProcessLookupError):
                return

    def stop(self) -> list[Sample]:
        self._end.set()
        self.join()
        return self.samples


def slope_mib_per_minute(samples: list[Sample]) -> float:
    """Of the anonymous memory, by least squares."""
    count = len(samples)
    if count < 2:
        return 0.0
    minutes = [sample.at_s / 60 for sample in samples]
    values = [sample.anonymous_mib for sample in samples]
    mean_x, mean_y = sum(minutes) / count, sum(values) / count
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(minutes, values))
    return above / sum((x - mean_x) ** 2 for x in minutes)


def _link(path: Path) -> str | None:
    """What a handle points at; none where it has been closed meanwhile."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
