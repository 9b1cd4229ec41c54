"""The textbook DCGAN in PyTorch, trained for a number of seconds: what a copied script gives.

    python -m benchmarks.peers.textbook_dcgan IMAGES.npz SAMPLES.npz SECONDS SEED

Networks, initialisation, loss and optimiser are those of the official example (pytorch/examples, dcgan/main.py; Radford
et al. 2016, arXiv 1511.06434): width 64, 100 latents, batch normalisation, Adam at 2e-4 with beta1 0.5, non-saturating
loss, batches of 64 in shuffled order; only the number of layers is fitted to 28 and 32 pixels. Loading and sampling are
not timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

WIDTH, LATENT, BATCH, SAMPLES = 64, 100, 64, 2000


def networks(side: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator: 7x7 or 8x8 at the coarsest with 128 channels, 64 at twice that size."""
    coarse, wide = side // 4, 2 * WIDTH
    gen = nn.Sequential(
        nn.ConvTranspose2d(LATENT, wide, coarse, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(True),
        nn.ConvTranspose2d(wide, WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(True),
        nn.ConvTranspose2d(WIDTH, channels, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    disc = nn.Sequential(
        nn.Conv2d(channels, WIDTH, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(WIDTH, wide, 4, 2, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(wide, 1, coarse, bias=False),
        nn.Flatten(0),
    )
    return gen.apply(initialise), disc.apply(initialise)


def initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def batches(images: Tensor) -> Iterator[Tensor]:
    """Shuffled epochs without end, as pixels in [-1, 1]."""
    while True:
        for chosen in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            yield images[chosen].float().div_(127.5).sub_(1)


def train(images: Tensor, seconds: float) -> tuple[nn.Module, int, float]:
    """The generator, the steps it was trained for, and the seconds they took."""
    gen, disc = networks(images.shape[2], images.shape[1])
    adam = {net: torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (gen, disc)}
    real_label, fake_label = torch.ones(BATCH), torch.zeros(BATCH)
    start = time.perf_counter()
    for step, real in enumerate(batches(images), start=1):
        disc.zero_grad()
        fake = gen(torch.randn(BATCH, LATENT, 1, 1))
        binary_cross_entropy_with_logits(disc(real), real_label).backward()
        binary_cross_entropy_with_logits(disc(fake.detach()), fake_label).backward()
        adam[disc].step()
        gen.zero_grad()
        binary_cross_entropy_with_logits(disc(fake), real_label).backward()
        adam[gen].step()
        spent = time.perf_counter() - start
        if spent >= seconds:
            return gen, step, spent
    raise AssertionError("batches never end")


@torch.no_grad()
def sample(gen: nn.Module) -> np.ndarray:
    """uint8 `[SAMPLES, h, w, c]`; batch statistics, as when the example draws its pictures."""
    drawn = torch.cat([gen(torch.randn(100, LATENT, 1, 1)) for _ in range(SAMPLES // 100)])
    return ((drawn + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def main(source: str, target: str, seconds: float, seed: int) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(seed)
    with np.load(source) as file:
        images = torch.from_numpy(file["images"]).permute(0, 3, 1, 2).contiguous()
    gen, steps, spent = train(images, seconds)
    np.savez(target, images=sample(gen))
    print(json.dumps({"torch": torch.__version__, "steps": steps, "training_seconds": round(spent, 3)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
