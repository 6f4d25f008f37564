"""The weighted mean of the weights of several checkpoints of one line: the flatter middle of what they have in common.

    python -m diarist_micro.mean MEAN.pt 0.6 LAST/checkpoint.pt 0.4 FIRST/checkpoint.pt
"""

import argparse
from pathlib import Path

import torch


def mean(parts: list[tuple[float, dict]]) -> dict:
    """The first checkpoint with the mean of all weights, by shares that are made to sum to 1."""
    total = sum(share for share, _ in parts)
    first = parts[0][1]
    if any(other["ids"] != first["ids"] or other["dimensions"] != first["dimensions"] for _, other in parts):
        raise ValueError("the checkpoints are of different models")
    weights = {name: sum(share / total * part["model"][name] for share, part in parts) for name in first["model"]}
    return {**first, "model": weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="+", metavar="SHARE CHECKPOINT", help="the first one's step and tokens are kept")
    options = parser.parse_args()
    if len(options.parts) % 2:
        parser.error("each checkpoint needs a share before it")
    shares, paths = options.parts[::2], options.parts[1::2]
    load = lambda path: torch.load(path, map_location="cpu", weights_only=True)
    torch.save(mean([(float(share), load(path)) for share, path in zip(shares, paths)]), options.out)


if __name__ == "__main__":
    main()
