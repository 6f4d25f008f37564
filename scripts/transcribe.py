#!/usr/bin/env python3
"""`make run` without curl: `transcribe.py URL` asks for the URL, `transcribe.py URL FILE` posts a recording to it."""

import os
import sys
import urllib.request
import uuid
from pathlib import Path


def main(url: str, recording: str = "") -> None:
    request = urllib.request.Request(url)
    if recording:
        boundary = uuid.uuid4().hex
        request.data = form(boundary, Path(recording), {"model": "whisper-1", "response_format": "text"})
        request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        if os.environ.get("API_KEY"):
            request.add_header("Authorization", f"Bearer {os.environ['API_KEY']}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine is never behind a proxy
    try:
        with direct.open(request, timeout=300 if recording else 5) as answer:
            body = answer.read().decode()
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode() or str(error))
    except OSError as error:
        sys.exit(str(error))
    if recording:
        print(body, end="")


def form(boundary: str, file: Path, fields: dict) -> bytes:
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
    return b"".join([*parts, head.encode(), file.read_bytes(), f"\r\n--{boundary}--\r\n".encode()])


if __name__ == "__main__":
    main(*sys.argv[1:])
