"""A second opinion: features of a small classifier trained on the very set that the generators were trained on.

    python -m benchmarks.peers.judge LABELLED.npz IMAGES.npz... (writes IMAGES.features.npy beside each)

It shares nothing with mulligan's own embedding. Prints its accuracy on a tenth of the labelled images that it was not
trained on.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

FEATURES, BATCH, STEPS = 64, 128, 1500


def classifier(side: int, channels: int, classes: int) -> tuple[nn.Module, nn.Module]:
    """The trunk, to `[n, FEATURES]`, and the head, to logits."""
    stages = [nn.Conv2d(a, b, 3, 2, 1) for a, b in ((channels, 32), (32, 64), (64, 128))]
    trunk = [part for stage in stages for part in (stage, nn.BatchNorm2d(stage.out_channels), nn.ReLU())]
    rest = -(-side // 8)
    features = [nn.Flatten(), nn.Dropout(0.25), nn.Linear(128 * rest**2, FEATURES), nn.ReLU()]
    return nn.Sequential(*trunk, *features), nn.Linear(FEATURES, classes)


def pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(images: np.ndarray, labels: Tensor) -> tuple[nn.Module, float]:
    """The trunk in evaluation mode, and the accuracy on held-out images."""
    trunk, head = classifier(images.shape[1], images.shape[3], int(labels.max()) + 1)
    model = nn.Sequential(trunk, head)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)
    order = torch.randperm(len(images))
    held, known = order[: len(images) // 10], order[len(images) // 10 :]
    for _ in range(STEPS):
        chosen = known[torch.randint(len(known), (BATCH,))]
        adam.zero_grad()
        cross_entropy(model(pixels(images[chosen.numpy()])), labels[chosen]).backward()
        adam.step()
    model.eval()
    right = [model(pixels(images[part.numpy()])).argmax(1) == labels[part] for part in held.split(500)]
    return trunk, float(torch.cat(right).float().mean())


def main(labelled: str, files: list[str]) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    with np.load(labelled) as file:
        trunk, accuracy = train(file["images"], torch.from_numpy(file["labels"]).long())
    for path in files:
        with np.load(path) as file, torch.no_grad():
            images = file["images"]
            parts = [trunk(pixels(images[i : i + 500])).numpy() for i in range(0, len(images), 500)]
        np.save(path.removesuffix(".npz") + ".features.npy", np.concatenate(parts))
    print(json.dumps({"accuracy": round(accuracy, 4)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
