"""Makes speech models of Whisper's true dimensions that cost what real ones cost, for measuring speed.

    python models.py BUNDLED.bin base|small OUT_DIR

Real weights cannot be shipped, and plain random ones write nonsense without end, which no program treats as it
treats speech. These models are random where the work is, and scripted where the words are: the decoder's position
embeddings point at the tokens of a fixed text, and every layer adds next to nothing to them. So each window, whatever
is heard, costs a full encoder pass, full attention and one full decoder pass for each token of the script (about as
many tokens as half a minute of brisk speech has), and ends by itself, with high probability, at beams and
temperatures alike. All programs get the same weights: GGML (f16 and q8_0) for whisper.cpp and Diarist, CTranslate2
(int8) for faster-whisper. The bundled model lends vocabulary and mel filters.
"""

import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from diarist_micro.ggml import F16, Q8_0, read_header, write_model  # noqa: E402

SIZES = {"base": (512, 8, 6), "small": (768, 12, 12)}  # width, heads, layers of encoder and decoder
AUDIO_POSITIONS, TEXT_POSITIONS, MELS = 1500, 448, 80
VOCABULARY_SIZE, END, START, FIRST_TIMESTAMP = 51864, 50256, 50257, 50363
TIMESTAMPS_PER_SECOND = 50
# Text tokens of each segment and the time it ends at, in seconds.
SEGMENTS = [(24, 7.0), (25, 14.0), (24, 21.0), (23, 28.0)]
NOTHING = 1e-6  # what layers add, beside values around 1
POSITION_NORM = 4.0  # of a position's embedding; a token's is 1


def script(vocabulary):
    """The tokens that follow `<|startoftranscript|>`: segments between timestamps, then the end for ever."""
    words = [i for i, token in enumerate(vocabulary) if len(token) > 3 and token[:1] == b" " and token[1:].isalpha() and token.islower()]
    text = iter(np.random.default_rng(7).permutation(words))
    tokens, start = [], 0.0
    for count, end in SEGMENTS:
        tokens.append(FIRST_TIMESTAMP + round(start * TIMESTAMPS_PER_SECOND))
        tokens += [int(next(text)) for _ in range(count)]
        tokens.append(FIRST_TIMESTAMP + round(end * TIMESTAMPS_PER_SECOND))
        start = end
    return tokens + [END] * (TEXT_POSITIONS - len(tokens))


def tensors(width, layers, tokens):
    """Every tensor of the model under whisper.cpp's names, float32."""
    rng = np.random.default_rng(0)
    random = lambda *shape: rng.standard_normal(shape, dtype=np.float32) * 0.02
    made = {
        "encoder.positional_embedding": random(AUDIO_POSITIONS, width),
        "decoder.positional_embedding": np.zeros((TEXT_POSITIONS, width), np.float32),
        "encoder.conv1.weight": random(width, MELS, 3),
        "encoder.conv1.bias": random(width, 1),
        "encoder.conv2.weight": random(width, width, 3),
        "encoder.conv2.bias": random(width, 1),
    }

    def norm(name):
        made[f"{name}.weight"], made[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    def linear(name, outputs, inputs, scale=1.0, bias=True):
        made[f"{name}.weight"] = random(outputs, inputs) * scale
        if bias:
            made[f"{name}.bias"] = random(outputs) * scale

    for side in ("encoder", "decoder"):
        added = NOTHING if side == "decoder" else 1.0
        for layer in range(layers):
            block = f"{side}.blocks.{layer}"
            for attention in ("attn", "cross_attn")[: 1 + (side == "decoder")]:
                norm(f"{block}.{attention}_ln")
                for part in ("query", "key", "value"):
                    linear(f"{block}.{attention}.{part}", width, width, bias=part != "key")
                linear(f"{block}.{attention}.out", width, width, added)
            norm(f"{block}.mlp_ln")
            linear(f"{block}.mlp.0", 4 * width, width)
            linear(f"{block}.mlp.2", width, 4 * width, added)
    norm("encoder.ln_post")
    norm("decoder.ln")
    table = rng.standard_normal((VOCABULARY_SIZE, width), dtype=np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    made["decoder.token_embedding.weight"] = table
    # The token after position p is tokens[p]: position 0 holds `<|startoftranscript|>`.
    made["decoder.positional_embedding"][:] = POSITION_NORM * table[tokens]
    return made


def write_ctranslate2(folder, made, heads, layers, vocabulary):
    from ctranslate2.specs import whisper_spec

    spec = whisper_spec.WhisperSpec(layers, heads, layers, heads)

    def norm(target, name):
        target.gamma, target.beta = made[f"{name}.weight"], made[f"{name}.bias"]

    def linear(target, *names):
        zeros = lambda name: np.zeros(len(made[f"{name}.weight"]), np.float32)
        target.weight = np.concatenate([made[f"{name}.weight"] for name in names])
        target.bias = np.concatenate([made.get(f"{name}.bias", zeros(name)) for name in names])

    def attention(target, name, over_self):
        norm(target.layer_norm, f"{name}_ln")
        query, key, value = (f"{name}.{part}" for part in ("query", "key", "value"))
        groups = [(query, key, value)] if over_self else [(query,), (key, value)]
        for place, names in zip(target.linear, [*groups, (f"{name}.out",)]):
            linear(place, *names)

    def feed_forward(target, name):
        norm(target.layer_norm, f"{name}.mlp_ln")
        linear(target.linear_0, f"{name}.mlp.0")
        linear(target.linear_1, f"{name}.mlp.2")

    encoder, decoder = spec.encoder, spec.decoder
    for conv, name in ((encoder.conv1, "encoder.conv1"), (encoder.conv2, "encoder.conv2")):
        conv.weight, conv.bias = made[f"{name}.weight"], made[f"{name}.bias"].reshape(-1)
    encoder.position_encodings.encodings = made["encoder.positional_embedding"]
    norm(encoder.layer_norm, "encoder.ln_post")
    decoder.embeddings.weight = made["decoder.token_embedding.weight"]
    decoder.position_encodings.encodings = made["decoder.positional_embedding"]
    norm(decoder.layer_norm, "decoder.ln")
    decoder.scale_embeddings = False
    decoder.projection.weight = decoder.embeddings.weight
    for index, layer in enumerate(encoder.layer):
        attention(layer.self_attention, f"encoder.blocks.{index}.attn", True)
        feed_forward(layer.ffn, f"encoder.blocks.{index}")
    for index, layer in enumerate(decoder.layer):
        attention(layer.self_attention, f"decoder.blocks.{index}.attn", True)
        attention(layer.attention, f"decoder.blocks.{index}.cross_attn", False)
        feed_forward(layer.ffn, f"decoder.blocks.{index}")
    names = token_names(vocabulary)
    spec.register_vocabulary(names)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [(layers - 1, 0)]
    spec.config.lang_ids = [START + 1]
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    write_tokenizer(folder / "tokenizer.json", names)


def token_names(vocabulary):
    """A unique name for every token, in GPT-2's letters; the special ones as openai/whisper orders them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    letters |= {byte: chr(256 + place) for place, byte in enumerate(b for b in range(256) if b not in letters)}
    names = ["".join(letters[byte] for byte in token) for token in vocabulary[:END]]
    # Tokens that end inside a character may have lost their bytes in the file; none is in the script.
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    names = [name if first[name] == place else f"{name}<{place}>" for place, name in enumerate(names)]
    names += ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", *(f"<|language{i}|>" for i in range(1, 99))]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    return names + [f"<|{step / TIMESTAMPS_PER_SECOND:.2f}|>" for step in range(VOCABULARY_SIZE - len(names))]


def write_tokenizer(path, names):
    """What Hugging Face's `tokenizers` needs to write text; nothing here is ever split into tokens."""
    special = {name: number for number, name in enumerate(names) if name.startswith("<|") and name.endswith("|>")}
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    added = [dict(id=number, content=name, **flags) for name, number in special.items()]
    letters = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    model = dict(type="BPE", vocab={n: i for i, n in enumerate(names) if n not in special}, merges=[])
    parts = dict(normalizer=None, pre_tokenizer=letters, post_processor=None, decoder=letters)
    path.write_text(json.dumps(dict(version="1.0", added_tokens=added, **parts, model=model)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundled", type=Path)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    width, heads, layers = SIZES[options.size]
    header = read_header(options.bundled)
    sizes = (AUDIO_POSITIONS, width, heads, layers)
    header.hparams = (VOCABULARY_SIZE, *sizes, TEXT_POSITIONS, *sizes[1:], MELS, 0)
    made = tensors(width, layers, script(header.vocabulary))
    options.out.mkdir(parents=True, exist_ok=True)
    for kind, ending in ((F16, ""), (Q8_0, "-q8_0")):
        write_model(options.out / f"scripted-{options.size}{ending}.bin", header, made, kind)
    write_ctranslate2(options.out / f"scripted-{options.size}-int8", made, heads, layers, header.vocabulary)


if __name__ == "__main__":
    main()
