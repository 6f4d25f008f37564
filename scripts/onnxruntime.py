#!/usr/bin/env python3
"""Puts ONNX Runtime's shared library at .runtime/libonnxruntime.so, unless it is there.

The library is taken out of the package `onnxruntime` of the Python registry. Nothing of Python is needed
afterwards. `DIARIST_ONNXRUNTIME` names a library that is installed already; then nothing is fetched.
"""

import ctypes
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

RUNTIME = Path(__file__).resolve().parent.parent / ".runtime"
LIBRARY = RUNTIME / ("libonnxruntime.dylib" if sys.platform == "darwin" else "libonnxruntime.so")
IN_WHEEL = re.compile(r"onnxruntime/capi/libonnxruntime\.(so[.\d]*|[.\d]*dylib)")

# The version that the tests ran with, then whatever has the interface that the program asks for.
TESTED = "onnxruntime==1.31.1"
ACCEPTABLE = "onnxruntime>=1.24"
# A wheel for another Python carries the same library.
OTHER_PYTHONS = ("3.13", "3.12", "3.11", "3.14")


def main() -> None:
    if os.environ.get("DIARIST_ONNXRUNTIME") or usable(LIBRARY):
        return
    RUNTIME.mkdir(exist_ok=True)
    pip = environment_with_pip()
    with tempfile.TemporaryDirectory(dir=RUNTIME) as folder:
        wheel = download(pip, Path(folder))
        extract(wheel, Path(folder) / LIBRARY.name)
        if not usable(Path(folder) / LIBRARY.name):
            sys.exit(f"setup: the library in {wheel.name} does not load on this machine")
        os.replace(Path(folder) / LIBRARY.name, LIBRARY)
    print(f"setup: ONNX Runtime is at {LIBRARY.relative_to(RUNTIME.parent)} (from {wheel.name})")


def environment_with_pip() -> list:
    """pip of an environment of our own: Debian lets no pip write into the system's Python."""
    python = RUNTIME / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip"]
    if not python.exists() or subprocess.run([*pip, "--version"], capture_output=True).returncode:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(RUNTIME / "venv")], check=True)
    return pip


def download(pip: list, folder: Path) -> Path:
    """The first wheel that can be had."""
    print("setup: fetching ONNX Runtime", flush=True)
    machine = platform.machine()
    foreign = [["--python-version", python, "--platform", f"manylinux_2_28_{machine}"] for python in OTHER_PYTHONS]
    attempts = [(options, package) for package in (TESTED, ACCEPTABLE) for options in ([], *foreign)]
    complaint = ""
    for options, package in attempts:
        command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        done = subprocess.run([*command, *options, package], capture_output=True, text=True)
        wheels = list(folder.glob("*.whl"))
        if done.returncode == 0 and wheels:
            return wheels[0]
        complaint = done.stderr.strip() or complaint
        if "No matching distribution" not in complaint:
            break  # no network, or a broken pip: asking again would only take longer
    sys.exit(
        f"setup: ONNX Runtime could not be fetched:\n{complaint}\n"
        "setup: with a library of version 1.24 or newer at hand, set DIARIST_ONNXRUNTIME to its path"
    )


def extract(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if IN_WHEEL.fullmatch(name)]
        if not names:
            sys.exit(f"setup: {wheel.name} holds no {LIBRARY.name}")
        with archive.open(names[0]) as source, open(target, "wb") as file:
            while block := source.read(1 << 20):
                file.write(block)


def usable(library: Path) -> bool:
    """Whether the file loads and is ONNX Runtime."""
    try:
        return hasattr(ctypes.CDLL(str(library)), "OrtGetApiBase")
    except OSError:
        return False


if __name__ == "__main__":
    main()
