"""Trains the model on a folder of speech, which may still be growing.

    python -m diarist_micro.train SPEECH RUN --minutes 120 [--languages multilingual]

One process is one thread; on several cores start one process per core with RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT set (`train.sh` does). A checkpoint is written every few minutes; the same command continues from it.
"""

import argparse
import math
import os
import random
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as distributed
import torch.nn.functional as F

from .languages import ENGLISH, SETS, LanguageSet
from .network import TIMESTAMPS, MicroWhisper
from .tokens import Tokens
from .windows import FRAMES_A_SECOND, FULL, IGNORE, Composer, Recipe, Speech

# (share of the steps, frames of a window): single sentences, chunks as a voice detector cuts them, whole windows.
SIZES = {
    "english": [
        (0.05, 240), (0.06, 320), (0.07, 440), (0.08, 600), (0.09, 800), (0.10, 1100), (0.06, 1600), (0.06, 2300), (0.43, FULL)
    ],
    "multilingual": [(0.16, 240), (0.22, 320), (0.20, 440), (0.14, 600), (0.08, 800), (0.05, 1100), (0.15, FULL)],
}  # fmt: skip
RECIPES = {"english": Recipe(), "multilingual": Recipe(prompts=0.2, cuts=0.1, translations=0.5)}
SILENT_SHARE = {"english": 0.18, "multilingual": 0.08}
PHONE_WEIGHT, WORD_WEIGHT, GUIDE_WEIGHT, PROMPT_WEIGHT = 0.3, 0.5, 0.4, 1.0
SMOOTHING = 0.03  # of the text targets
TIMESTAMP_SIGMA = 1.0  # steps of 20 ms
WORD_MARGIN, START_MARGIN = 0.3, 0.12  # seconds around a word, around its start
CHECKPOINT = "checkpoint.pt"
SAVE_EVERY = 180  # seconds


def text_loss(logits: torch.Tensor, targets: torch.Tensor, text_rows: int):
    """Mean loss over all targets, then the parts: text, timestamps, share of right text tokens, timestamp error in s."""
    scores = logits.float().log_softmax(-1)
    is_text = targets < text_rows
    picked = -scores[is_text].gather(1, targets[is_text][:, None]).squeeze(1)
    smooth = -scores[is_text][:, :text_rows].mean(1)
    steps = torch.arange(TIMESTAMPS, device=logits.device)
    wanted = (targets[~is_text] - text_rows)[:, None]
    soft = torch.exp(-0.5 * ((wanted - steps) / TIMESTAMP_SIGMA) ** 2)
    stamps = -(soft / soft.sum(1, keepdim=True) * scores[~is_text][:, text_rows:]).sum(1)
    loss = (picked.sum() * (1 - SMOOTHING) + smooth.sum() * SMOOTHING + stamps.sum()) / max(1, len(targets))
    with torch.no_grad():
        right = (scores[is_text].argmax(1) == targets[is_text]).float().mean()
        off = (scores[~is_text][:, text_rows:].argmax(1)[:, None] - wanted).abs().float().mean() * 0.02
    return loss, (picked.mean(), stamps.mean(), right, off)


def guide_loss(attention: list[torch.Tensor], spans: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """Minus log of the attention that falls where a token is heard.

    The top layer's head 0 and the first head below look at the whole word; the top layer's last head looks at the
    word's start alone, which makes it the head for word times.
    """
    frames = attention[-1].shape[-1]
    at = (torch.arange(frames, device=spans.device) + 0.5) / 50
    start, end = spans[..., :1], spans[..., 1:]
    word = ((at > start - WORD_MARGIN) & (at < end + WORD_MARGIN)).float()
    edge = ((at > start - START_MARGIN) & (at < start + START_MARGIN)).float()
    total = 0.0
    for weights, window in ((attention[-1][:, 0], word), (attention[-2][:, 0], word), (attention[-1][:, -1], edge)):
        inside = (weights.float() * window).sum(-1).clamp(min=1e-4)
        total = total - (inside.log() * heard).sum() / heard.sum().clamp(min=1)
    return total / 3


def prompt_loss(attention: list[torch.Tensor], prompt: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Minus log of the attention that an answer and its beginning keep from the prompt before them.

    What a small model reads in a prompt only misleads it: it writes a sentence of the prompt that begins like the one
    it hears. whisper.cpp hands over prompts by itself, so they must come to nothing. `prompt` (batch,) is their length.
    """
    if not prompt.any():
        return attention[0].new_zeros((), dtype=torch.float32)
    at = torch.arange(wanted.shape[1], device=wanted.device)
    told = (prompt[:, None] > 0) & (at >= prompt[:, None]) & (at <= (wanted * at).amax(1, keepdim=True))
    forbidden = (at < prompt[:, None])[:, None, None, :]
    total = 0.0
    for weights in attention:
        kept = 1 - (weights.float() * forbidden).sum(-1)
        total = total - (kept.clamp(min=1e-4).log() * told[:, None]).sum() / told.sum() / weights.shape[1]
    return total / len(attention)


def all_losses(model: MicroWhisper, batch: dict, device: str) -> tuple[torch.Tensor, dict[str, float]]:
    """The training loss of a batch and its parts."""
    batch = {name: value.to(device) for name, value in batch.items()}
    with torch.autocast(device.split(":")[0], torch.bfloat16):
        audio = model.encoder(batch["mel"], batch["offset"])
        wanted = batch["targets"] != IGNORE
        logits, attention, own_attention = model.decode(batch["rows"], audio, wanted)
        phones = model.phone_head(audio).flatten(0, 1)
        spoken = batch["words"] != IGNORE
        spoken[:, random.randrange(2) :: 2] = False  # every other frame is enough
        words = model.word_head(audio[spoken]) @ model.text_rows.t()
    loss, (text, stamps, right, off) = text_loss(logits, batch["targets"][wanted], model.text_rows.shape[0])
    labels = batch["phones"].flatten()
    phone = F.cross_entropy(phones.float(), labels, ignore_index=IGNORE)
    word = F.cross_entropy(words.float(), batch["words"][spoken]) if spoken.any() else loss.new_zeros(())
    guide = guide_loss(attention, batch["spans"], batch["heard"])
    prompt = prompt_loss(own_attention, batch["prompt"], wanted)
    voiced = labels > 0
    hits = (phones.argmax(1) == labels)[voiced].float().mean()
    total = loss + PHONE_WEIGHT * phone + WORD_WEIGHT * word + GUIDE_WEIGHT * guide + PROMPT_WEIGHT * prompt
    parts = dict(loss=loss, text=text, right=right, stamps=stamps, off=off)
    parts |= dict(phone=phone, hits=hits, word=word, guide=guide, prompt=prompt)
    return total, {name: float(value) for name, value in parts.items()}


def share_gradients(model: MicroWhisper, world: int) -> None:
    """The mean of all processes' gradients."""
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    distributed.all_reduce(flat)
    at = 0
    for parameter in model.parameters():
        parameter.grad.copy_(flat[at : at + parameter.numel()].view_as(parameter) / world)
        at += parameter.numel()


def optimiser_of(model: MicroWhisper, rate: float) -> torch.optim.Optimizer:
    plain = [p for name, p in model.named_parameters() if p.ndim < 2 or name == "text_rows"]
    decayed = [p for name, p in model.named_parameters() if p.ndim >= 2 and name != "text_rows"]
    return torch.optim.AdamW(
        [dict(params=decayed, weight_decay=0.03), dict(params=plain, weight_decay=0.0)], lr=rate, betas=(0.9, 0.98)
    )


@dataclass
class Progress:
    """What a checkpoint says of its training."""

    step: int = 0
    spent: float = 0.0  # seconds of the first process's processor time
    utterances: int = 0
    hours: float = 0.0  # of windows, all processes together


def begin(options: argparse.Namespace) -> tuple[MicroWhisper, Tokens, torch.optim.Optimizer, Progress]:
    """A model to train: this run's checkpoint, else `--start-from`'s weights, else random ones."""
    checkpoint = options.run / CHECKPOINT
    resumed = checkpoint.exists()
    source = checkpoint if resumed else options.start_from
    saved = torch.load(source, map_location="cpu", weights_only=True) if source else None
    languages = SETS[options.languages]
    same_kind = saved and saved.get("languages", ENGLISH.name) == languages.name
    tokens = Tokens(languages.header(), saved["ids"] if same_kind else None, languages)
    if same_kind:
        model = MicroWhisper(**saved["dimensions"])
        model.load_state_dict(saved["model"])
    elif saved and resumed:
        raise SystemExit(f"{checkpoint} is of another kind than --languages {languages.name}")
    else:
        model = MicroWhisper(tokens.text_rows, len(languages.phone_names) + 1)
        model.start_local()
        if saved:
            take_over(model, tokens, saved)
    model.to(options.device)
    optimiser = optimiser_of(model, options.rate)
    progress = Progress()
    if resumed:
        optimiser.load_state_dict(saved["optimiser"])
        progress = Progress(**saved["progress"])
    return model, tokens, optimiser, progress


@torch.no_grad()
def take_over(model: MicroWhisper, tokens: Tokens, saved: dict) -> None:
    """Gives a model of one kind the weights of another's checkpoint: all layers, and the rows of what both can write."""
    other: LanguageSet = SETS[saved.get("languages", ENGLISH.name)]
    theirs = Tokens(other.header(), saved["ids"], other)
    state, own = dict(saved["model"]), model.state_dict()
    rows = own["text_rows"].clone()
    known = {theirs.piece_bytes(row): row for row in range(theirs.text_rows)}
    for row in range(tokens.text_rows):
        if (found := known.get(tokens.piece_bytes(row))) is not None:
            rows[row] = state["text_rows"][found]
    state["text_rows"] = rows
    for name in ("phone_head.weight", "phone_head.bias"):  # the second kind's phones begin with the first's
        count = min(len(own[name]), len(state[name]))
        state[name] = torch.cat([state[name][:count], own[name][count:]])
    model.load_state_dict(state)


def save(path: Path, model: MicroWhisper, tokens: Tokens, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
    state = dict(model=model.state_dict(), dimensions=model.dimensions, ids=tokens.ids, languages=tokens.languages.name)
    torch.save(state | dict(optimiser=optimiser.state_dict(), progress=asdict(progress)), path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def learning_rate(options: argparse.Namespace, step: int, done: float) -> float:
    """Rises over the first steps, then falls in a line to nearly nothing at the end of the time."""
    return options.rate * min(1.0, (step + 1) / options.warm_up) * max(0.01, 1 - done)


def one_step(
    model: MicroWhisper, optimiser: torch.optim.Optimizer, batch: dict, device: str, world: int
) -> dict[str, float] | None:
    """Learns from a batch: the parts of its loss, or None where the gradient was not finite and nothing was learned."""
    loss, parts = all_losses(model, batch, device)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if world > 1:
        share_gradients(model, world)
    if not math.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)):
        return None
    optimiser.step()
    return parts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path)
    parser.add_argument("run", type=Path, help="folder for the log and checkpoint.pt")
    parser.add_argument("--minutes", type=float, default=120, help="of processor time in all, over which the rate falls to zero")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--warm-up", type=int, default=200, help="steps")
    parser.add_argument("--frames", type=int, default=5000, help="of 10 ms, per step and process")
    parser.add_argument("--languages", choices=SETS, default=ENGLISH.name)
    parser.add_argument("--start-from", type=Path, help="a checkpoint whose weights to begin with; it may be of the other kind")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many (for a smoke test)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    options.run.mkdir(parents=True, exist_ok=True)
    model, tokens, optimiser, progress = begin(options)
    speech = Speech(options.speech)
    composer = Composer(speech, tokens, (options.seed * 1000 + rank) * 100_000 + progress.step, RECIPES[options.languages])
    sizes = random.Random(options.seed + progress.step)  # the same on all processes
    asked_to_stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.append(True))

    def say(*words) -> None:
        if rank == 0:
            print(*words, flush=True)
            with open(options.run / "log.txt", "a") as log:
                print(*words, file=log)

    say("utterances", len(speech.items), "parameters", sum(p.numel() for p in model.parameters()))
    before, last_save, parts = progress.spent - time.process_time(), time.time(), []
    while True:
        # Not the clock on the wall: beside other work a step takes several times as long.
        progress.spent, progress.utterances = before + time.process_time(), len(speech.items)
        done = torch.tensor(2.0 if asked_to_stop else progress.spent / options.minutes / 60)
        if world > 1:
            distributed.broadcast(done, 0)
        if done >= 1 or (options.steps and progress.step >= options.steps):
            break
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(options, progress.step, float(done))
        shares = SIZES[options.languages]
        frames = sizes.choices([frames for _, frames in shares], [share for share, _ in shares])[0]
        batch = composer.batch(frames, max(1, options.frames // frames), SILENT_SHARE[options.languages])
        part = one_step(model, optimiser, batch, options.device, world)
        parts += [part] if part else []
        progress.step += 1
        progress.hours += world * len(batch["mel"]) * frames / FRAMES_A_SECOND / 3600
        if progress.step % 50 == 0 and parts:
            means = {name: np.nanmean([part[name] for part in parts]) for name in parts[0]}
            values = " ".join(f"{name} {value:.3f}" for name, value in means.items())
            say(f"{progress.step:6} {float(done):.3f} {progress.spent:.0f}s", values)
            parts = []
            speech.refresh()
        if rank == 0 and time.time() - last_save > SAVE_EVERY:
            save(options.run / CHECKPOINT, model, tokens, optimiser, progress)
            last_save = time.time()
    if rank == 0:
        save(options.run / CHECKPOINT, model, tokens, optimiser, progress)
    say(f"stopped after {progress.step} steps")


if __name__ == "__main__":
    main()
