"""Clients of every kind, good and bad. Each does one thing and says what came of it."""

import http.client
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from server import ROOT

AUDIO = ROOT / "fixtures/audio"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
BOUNDARY = "soakboundary7f3a"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
PATIENCE_S = 300  # for one answer, on a machine where sixteen ask at once
MAX_UPLOAD = 16 << 20
MAX_DURATION_S = 900
BODY_TIMEOUT_S = 5


class Wrong(Exception):
    """What the server must not do."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Recording:
    name: str
    data: bytes
    text: str


def recordings() -> list[Recording]:
    """Fixtures whose exact text is known."""
    found = []
    for line in (ROOT / "fixtures/expected/sentences.tsv").read_text().splitlines()[1:]:
        file, text = line.split("\t")[:2]
        found.append(Recording(file.split("/")[-1], (AUDIO / file).read_bytes(), text))
    for name in ("hello", "dialogue"):
        segments = json.loads((ROOT / f"fixtures/expected/{name}.json").read_text())["segments"]
        text = " ".join(segment["text"].strip() for segment in segments)
        found.append(Recording(f"{name}.flac", (AUDIO / f"{name}.flac").read_bytes(), text))
    return found


def silence(seconds: int) -> bytes:
    """A WAV file, 8 kHz, 8 bit: 8 kB a second."""
    size = 8000 * seconds
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", size)
    return head + bytes([128]) * size


def form(fields: dict[str, str], name: str | None, data: bytes) -> bytes:
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()]
    if name is not None:
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def head(length: int | None, path: str = TRANSCRIPTIONS) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Type: {CONTENT_TYPE}\r\n{framing}\r\n\r\n".encode()


class Client:
    """One of the crowd. `kinds` are tried by their weights; each raises `Wrong` or gives a short word for the tally."""

    def __init__(self, address: tuple[str, int], seed: int, known: list[Recording]):
        self.address, self.rng, self.known = address, random.Random(seed), known
        self.kinds: list[tuple[float, Callable[[], str]]] = [
            (30, self.good),
            (8, self.good_stream),
            (3, self.good_silence),
            (5, self.good_but_slow),
            (2, self.slow_reader),
            (10, self.broken_file),
            (8, self.broken_form),
            (4, self.garbage),
            (4, self.too_large),
            (2, self.too_long),
            (2, self.stops_sending),
            (16, self.vanishes),
            (6, self.looks_around),
        ]

    def step(self) -> tuple[str, str]:
        """Does one thing: its name and what came of it."""
        weights = [weight for weight, _ in self.kinds]
        _, kind = self.rng.choices(self.kinds, weights)[0]
        return kind.__name__, kind()

    # ---- good ones ----

    def good(self) -> str:
        known, shape = self.rng.choice(self.known), self.rng.choice(["json", "text", "srt", "vtt", "verbose_json"])
        fields = {"model": "whisper-1", "response_format": shape}
        if self.rng.random() < 0.3:
            fields["temperature"] = "0"
        answer = self.until_served(form(fields, known.name, known.data))
        heard = _text_of(answer.text, shape)
        if heard != known.text:
            raise Wrong(f"{known.name} as {shape} says {heard!r}, right is {known.text!r}")
        return "right"

    def good_stream(self) -> str:
        known = self.rng.choice(self.known)
        answer = self.until_served(form({"model": "whisper-1", "stream": "true"}, known.name, known.data))
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        if not events or events[-1].get("type") != "transcript.text.done":
            raise Wrong(f"a stream ends with {answer.text[-200:]!r}")
        deltas = "".join(event["delta"] for event in events if event["type"] == "transcript.text.delta")
        if events[-1]["text"].strip() != known.text or deltas.strip() != known.text:
            raise Wrong(f"a stream of {known.name} says {deltas!r}, right is {known.text!r}")
        return "right"

    def good_silence(self) -> str:
        answer = self.until_served(form({"model": "whisper-1"}, "quiet.wav", silence(self.rng.randint(30, 600))))
        if json.loads(answer.text)["text"] != "":
            raise Wrong(f"silence says {answer.text!r}")
        return "right"

    def good_but_slow(self) -> str:
        """Sends little by little, never silent for as long as the server bears."""
        known = self.rng.choice(self.known)

        def pieces() -> Iterator[bytes]:
            body = form({"model": "whisper-1"}, known.name, known.data)
            step = max(1, len(body) // 10)
            for at in range(0, len(body), step):
                time.sleep(self.rng.uniform(0.05, 0.4))
                yield body[at : at + step]

        answer = self.until_served(pieces)
        if json.loads(answer.text)["text"] != known.text:
            raise Wrong(f"{known.name}, sent slowly, says {answer.text!r}")
        return "right"

    def slow_reader(self) -> str:
        known = self.rng.choice(self.known)
        body = form({"model": "whisper-1", "stream": "true"}, known.name, known.data)
        with self.connect() as stream:
            stream.sendall(head(len(body)) + body)
            text = b""
            while not text.endswith(b"0\r\n\r\n"):
                piece = stream.recv(self.rng.randint(1, 64))
                if not piece:
                    break
                text += piece
                time.sleep(0.005)
                if text.startswith((b"HTTP/1.1 429", b"HTTP/1.1 503")):
                    return "busy"
        if b"transcript.text.done" not in text:
            raise Wrong(f"a slow reader got {text[-200:]!r}")
        return "right"

    # ---- bad ones ----

    def broken_file(self) -> str:
        rng, known = self.rng, self.rng.choice(self.known)
        noise = rng.randbytes(rng.choice([0, 1, 100, 20_000]))
        shapes = [
            noise,
            known.data[: rng.randint(4, 200)],
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + rng.randbytes(50),
            b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + noise,
            b"OggS" + noise,
            b"\0\0\0\x20ftypM4A " + noise,
            bytes(rng.randint(1, 5000)),
        ]
        answer = self.post(form({"model": "whisper-1"}, "broken.bin", rng.choice(shapes)))
        if answer.status == 200 and json.loads(answer.text)["text"] == "":
            return "no words"  # chance made a WAV file with a moment of noise
        return self.expect(answer, {400})

    def broken_form(self) -> str:
        rng, known = self.rng, self.rng.choice(self.known)
        bodies = [
            form({}, None, b""),
            form({"model": "no-such-model"}, known.name, known.data),
            form({"model": "whisper-1", "temperature": rng.choice(["7", "warm", "nan"])}, known.name, known.data),
            form({"model": "whisper-1", "response_format": "docx"}, known.name, known.data),
            form({"model": "whisper-1", "language": "klingon"}, known.name, known.data),
            form({"model": "whisper-1"}, known.name, known.data)[:-300],
            form({"model": "whisper-1\r\nforged"}, "../../etc/passwd\0", b"x"),
            rng.randbytes(3000),
        ]
        return self.expect(self.post(rng.choice(bodies)), {400, 404})

    def garbage(self) -> str:
        """No HTTP at all, or not much."""
        rng = self.rng
        with self.connect() as stream:
            try:
                stream.sendall(rng.choice([rng.randbytes(500), b"GET", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 50, b"X: " + b"y" * 200_000]))
                stream.settimeout(2)
                stream.recv(200)
            except OSError:
                pass
        return "sent"

    def too_large(self) -> str:
        rng, more = self.rng, MAX_UPLOAD + (4 << 20)
        if rng.random() < 0.5:
            return self.expect(self.post(bytes(more)), {413})

        def pieces() -> Iterator[bytes]:
            yield form({"model": "whisper-1"}, "big.wav", b"").removesuffix(f"\r\n--{BOUNDARY}--\r\n".encode())
            for _ in range(more >> 18):
                yield bytes(1 << 18)

        return self.expect(self.post(pieces()), {413})

    def too_long(self) -> str:
        return self.expect(self.post(form({"model": "whisper-1"}, "long.wav", silence(MAX_DURATION_S + 300))), {400})

    def stops_sending(self) -> str:
        known = self.rng.choice(self.known)
        body = form({"model": "whisper-1"}, known.name, known.data)
        with self.connect() as stream:
            stream.sendall(head(len(body)) + body[: len(body) // 2])
            stream.settimeout(BODY_TIMEOUT_S * 6)
            begun = stream.recv(12)
            if begun and not begun.startswith((b"HTTP/1.1 408", b"HTTP/1.1 429", b"HTTP/1.1 503")):
                raise Wrong(f"a client that stopped sending got {begun!r}")
        return "given up"

    def vanishes(self) -> str:
        """Goes away at some moment, politely (FIN) or not (RST)."""
        rng, known = self.rng, self.rng.choice(self.known)
        data = silence(600) if rng.random() < 0.2 else known.data
        body = form({"model": "whisper-1", "stream": rng.choice(["true", "false"])}, known.name, data)
        sent = head(len(body)) + body
        with self.connect() as stream:
            try:
                if rng.random() < 0.4:
                    stream.sendall(sent[: rng.randrange(len(sent))])
                else:
                    stream.sendall(sent)
                    stream.settimeout(rng.choice([0.01, 0.1, 0.5, 2]))
                    stream.recv(rng.randint(1, 500))
            except OSError:
                pass
            if rng.random() < 0.5:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "gone"

    def looks_around(self) -> str:
        path = self.rng.choice(["/health", "/health/live", "/health/ready", "/v1/models", "/v1/models/whisper-1", "/nothing", "/metrics"])
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = _read(connection)
        finally:
            connection.close()
        return self.expect(answer, {404} if path == "/nothing" else {200})

    # ---- how ----

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def post(self, body: bytes | Iterator[bytes]) -> Answer:
        """Sends all of a body, and reads the answer even where the server stopped listening."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        headers = {"Content-Type": CONTENT_TYPE}
        try:
            try:
                connection.request("POST", TRANSCRIPTIONS, body, headers, encode_chunked=not isinstance(body, bytes))
            except (BrokenPipeError, ConnectionResetError):
                raise Wrong("the server closed before its answer could be read") from None
            return _read(connection)
        finally:
            connection.close()

    def until_served(self, body: bytes | Callable[[], Iterator[bytes]]) -> Answer:
        """As `post`, again and again while the server is busy. The answer is a 200."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            answer = self.post(body if isinstance(body, bytes) else body())
            if answer.status == 200:
                return answer
            if self.expect(answer, set()) != "busy":
                break
            time.sleep(self.rng.uniform(0.1, 1.0))
        raise Wrong(f"a good request was not served: {answer.status} {answer.body[:200]!r}")

    def expect(self, answer: Answer, allowed: set[int]) -> str:
        """An allowed status, or a refusal that says when to come again."""
        if answer.status in (429, 503) and answer.status not in allowed:
            if not answer.headers.get("retry-after", "").isdigit():
                raise Wrong(f"{answer.status} without Retry-After: {answer.body[:200]!r}")
            return "busy"
        if answer.status not in allowed:
            raise Wrong(f"status {answer.status} where {sorted(allowed)} would be right: {answer.body[:300]!r}")
        if answer.status >= 400 and "message" not in json.loads(answer.body)["error"]:
            raise Wrong(f"no message in {answer.body[:200]!r}")
        return str(answer.status)


def _read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def _text_of(answer: str, shape: str) -> str:
    """The words of an answer, without what its format adds."""
    if shape in ("json", "verbose_json"):
        return json.loads(answer)["text"].strip()
    if shape == "text":
        return answer.strip()
    lines = [line for line in answer.splitlines() if line and "-->" not in line and not line.isdigit() and line != "WEBVTT"]
    return " ".join(lines)
