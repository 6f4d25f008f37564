"""Writes what the fuzz targets start from: small files made of the fixtures, and a few written by hand.

    python3 scripts/fuzz_seeds.py FOLDER

FOLDER gets a folder for each target. What is there already stays.
"""

import base64
import random
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(sys.argv[1])

# Beginnings of recordings, in bytes: the head with little or some sound.
HEADS = (1_500, 6_000)
# Kinds that need their end too, and the largest of them taken.
WHOLE = (".m4a", ".mp4", ".mov")
LARGEST = 36_000


def put(target, name, data):
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def recordings():
    for path in sorted((ROOT / "fixtures/audio/encodings").iterdir()):
        if path.suffix in (".md", ".sh"):
            continue
        data = path.read_bytes()
        parts = {f"{head}": data[:head] for head in HEADS}
        if path.suffix in WHOLE and len(data) <= LARGEST:
            parts["whole"] = data
        for part, cut in parts.items():
            put("decode", f"{path.name}-{part}", cut)
            if part != "6000":
                put("look", f"{path.name}-{part}", cut)
    ogg = [p.read_bytes()[:2_500] for p in sorted((ROOT / "fixtures/audio/encodings").glob("*.og*"))]
    put("decode", "chain.ogg", b"".join(ogg[:3]))
    put("decode", "tagged.mp3", b"ID3\x03\0\0\0\0\x08\0" + bytes(1_024))


def form(fields, boundary="b", pace=0x40, content_type=None):
    head = content_type or f"multipart/form-data; boundary={boundary}"
    body = b""
    for name, value in fields:
        is_file = name == "file"
        extra = '; filename="../a\\\\b.wav"' if is_file else ""
        disposition = f'Content-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        body += f"--{boundary}\r\n{disposition}".encode() + value + b"\r\n"
    return bytes([pace]) + head.encode() + b"\n" + body + f"--{boundary}--\r\n".encode()


def forms():
    clip = b"data:audio/wav;base64," + base64.b64encode(b"RIFF\0\0\0\0WAVE")
    base = [("model", b"whisper-1"), ("file", b"RIFF\0\0\0\0WAVE")]
    put("form", "plain", form(base))
    put("form", "file-first", form(base[::-1], pace=0))
    put("form", "quoted", form(base, content_type='Multipart/Form-Data; charset=x; boundary="b"'))
    put("form", "all", form(base + [
        ("language", b"de"), ("languages[]", b"en"), ("keywords[]", b"kea"), ("prompt", "Grüße".encode()),
        ("response_format", b"verbose_json"), ("temperature", b"0.2"), ("stream", b"false"),
        ("timestamp_granularities[]", b"word"), ("include[]", b""), ("beam_size", b"3"), ("priority", b"high"),
        ("guard", b"true"), ("coverage", b"false"), ("vocal_separation", b"auto"), ("condition_on_previous_text", b"no"),
    ]))
    put("form", "objects", form(base + [
        ("chunking_strategy[type]", b"server_vad"), ("chunking_strategy[threshold]", b"0.3"),
        ("chunking_strategy[silence_duration_ms]", b"200"), ("foo[bar][]", b"1"),
    ]))
    put("form", "json", form(base + [
        ("chunking_strategy", b'{"type":"server_vad","threshold":0.3,"prefix_padding_ms":"10"}'),
        ("timestamp_granularities", b'["word","segment"]'), ("response_format", b"verbose_json"),
    ]))
    put("form", "speakers", form(base + [
        ("known_speaker_names[]", b"Ann"), ("known_speaker_references[]", clip),
        ("extra_body[known_speaker_names][]", b"Bob"), ("extra_body[known_speaker_references][]", clip),
    ]))
    put("form", "diarized", form(base + [
        ("response_format", b"diarized_json"), ("stream", b"true"), ("min_speakers", b"2"), ("max_speakers", b"4"),
        ("diarization_step_ms", b"1000"), ("diarization_threshold", b"0.5"), ("speaker_smoothing", b"off"),
        ("known_speaker_names[]", b"Ann"), ("known_speaker_references[]", clip),
    ]))
    put("form", "labelled", form(base + [("response_format", b"vtt"), ("speaker_labels", b"1"), ("diarize", b"yes")]))
    put("form", "turns", form(base[1:] + [
        ("response_format", b"rttm"), ("num_speakers", b"2"), ("embeddings", b"false"),
        ("known_speaker_names", b'["Ann"]'), ("known_speaker_references", b'["' + clip + b'"]'),
    ], pace=0x42))
    put("form", "damaged", form(base)[:-20])


def data_urls():
    clip = base64.b64encode(b"RIFF\0\0\0\0WAVEfmt ").decode()
    for number, url in enumerate([
        f"data:audio/wav;base64,{clip}", f"DATA:video/mp4;codecs=x;BASE64,{clip}", f"data:;base64,{clip}",
        f" data:application/octet-stream;base64,{clip[:5]} \n{clip[5:].replace('=', '%3D')}", "data:audio/wav,abc",
        "data:text/html;base64,UklGRg==", "data:audio/wav;base64,UklGRg==#x", "http://x/y.wav",
    ]):
        put("data_url", f"{number}", url)


def numbers(*values):
    return b"".join(struct.pack("<I", value) for value in values)


def models():
    magic = 0x6767_6D6C
    head = numbers(magic, 51_864, 1_500, 8, 1, 1, 16, 8, 1, 1, 80, 1)
    filters = numbers(2, 3) + bytes(4 * 6)
    tokens = numbers(3, 1) + b"a" + numbers(0) + numbers(2) + b"bc"

    def tensor(name, kind, sides, data):
        return numbers(len(sides), len(name), kind, *sides) + name + data

    single = tensor(b"encoder.ln_post.bias", 0, (4,), bytes(16))
    half = tensor(b"encoder.conv1.weight", 1, (3, 2, 1), bytes(12))
    put("model", "plain", head + filters + tokens + single + half)
    # One of each of ggml's types, with as many bytes as the largest block.
    for kind in range(40):
        put("model", f"kind-{kind}", head + filters + tokens + tensor(b"t", kind, (256,), bytes(1_100)))
    # Large enough for the check of the whole file's size.
    put("model", "sized", head + filters + tokens + single + bytes(104_000))


def texts():
    catalogue = (ROOT / "models/catalogue.toml").read_text()
    blocks = catalogue.split("[[model]]")
    put("catalogue", "first", blocks[0] + "[[model]]" + blocks[1])
    put("catalogue", "names", "tiny.en\nggml-tiny.en.bin\nopenai/whisper-tiny\na/b@main:c/d.bin\n../x/y\na/b/c\n")
    settings = [line for line in (ROOT / "config/default.toml").read_text().splitlines()
                if "=" in line and not line.startswith(("#", "listen"))]
    put("settings", "all", "\n".join(settings))
    for line in settings:
        key, value = line.split(" = ", 1)
        put("settings", key, f"{line}\n\0DIARIST_{key.upper()}={value.strip(chr(34))}\nPATH=/bin")


def turns():
    line = "SPEAKER {} 1 {} {} <NA> <NA> {} <NA> <NA>\n"
    talk = "".join(line.format("a", start, 1.5, "AB"[start % 2]) for start in range(6))
    put("rttm", "plain", talk)
    put("rttm", "region", talk + "\0a 1 0.5 4\na 1 4 5\n")
    put("rttm", "two", talk + talk.replace(" a ", " b ").replace("1.5", "1.25"))
    put("rttm", "lenient", "\ufeff;; made by hand\r\nSPKR-INFO a 1\r\nSPEAKER a 1 1e1 .5 <NA> <NA> A\r\n")
    for path in sorted((ROOT / "fixtures/expected/scenes").glob("*.rttm")):
        put("rttm", path.stem, path.read_bytes())


def anything():
    """Bytes for the targets that make values of them."""
    chance = random.Random(4)
    text = " Hello, world --> <b>&amp;</b>\r\n\r\n2\n00:00:01,000 --> 00:00:02,000\n東京 \u2028 no no no no no".encode()
    for target in ("render", "hearing"):
        for number in range(24):
            size = chance.choice((40, 200, 900))
            data = chance.randbytes(size)
            put(target, f"{number}", data if number % 2 else data[:size // 2] + text + data[size // 2:])


recordings()
forms()
data_urls()
models()
texts()
turns()
anything()
