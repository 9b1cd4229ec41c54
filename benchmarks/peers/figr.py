"""FIGR's outer loop in PyTorch: Reptile on both players of a Wasserstein GAN with gradient penalty, one task at a time.

Written from the paper (Clouatre and Demers 2019, arXiv 1901.02199) and from what its published code does: 5x5
convolutions with layer normalisation and PReLU, 64 channels at the finest size, doubled at each of four halvings; ten
inner steps of 4 images by SGD at 1e-3, the difference followed by Adam at 1e-4.

    .venv/bin/python -m benchmarks.peers.figr WIDTH SECONDS SEED

prints `{"tasks": ..., "seconds": ...}`. Images are random: only speed is measured.
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

LATENT, BATCH, INNER, SIDE, BLOCKS = 100, 4, 10, 32, 4


class Block(nn.Module):
    """A 5x5 convolution, then activation and layer normalisation in the order that its player has them."""

    def __init__(self, inputs: int, outputs: int, side: int, normalise_first: bool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 5, padding=2)
        after = [nn.LayerNorm([outputs, side, side]), nn.PReLU(outputs)]
        self.after = nn.Sequential(*(after if normalise_first else after[::-1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(x))


class Generator(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        channels = [width * 2 ** (BLOCKS - level) for level in range(BLOCKS + 1)]
        coarse = SIDE // 2**BLOCKS
        flat = channels[0] * coarse**2
        self.first = nn.Sequential(nn.Linear(LATENT, flat), nn.PReLU(flat), nn.LayerNorm(flat))
        self.shape = (channels[0], coarse, coarse)
        self.blocks = nn.ModuleList(
            Block(channels[level], channels[level + 1], coarse * 2**level, False) for level in range(BLOCKS)
        )
        self.last = nn.Conv2d(width, 1, 5, padding=2)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).view(len(z), *self.shape)
        for block in self.blocks:
            x = interpolate(block(x), scale_factor=2)
        return torch.tanh(self.last(x))


class Discriminator(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        channels = [width * 2**level for level in range(BLOCKS + 1)]
        self.first = Block(1, width, SIDE, True)
        self.blocks = nn.ModuleList(
            Block(channels[level], channels[level + 1], SIDE // 2**level, True) for level in range(BLOCKS)
        )
        self.last = nn.Linear(channels[-1] * (SIDE // 2**BLOCKS) ** 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = avg_pool2d(block(x), 2)
        return self.last(x.flatten(1))[:, 0]


def penalty(disc: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    share = torch.rand(len(real), 1, 1, 1)
    between = (share * real + (1 - share) * fake.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(disc(between).sum(), between, create_graph=True)
    return 10 * ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def task(players: list[nn.Module], real: Tensor) -> None:
    """Ten alternating steps on one task's images."""
    gen, disc = players
    descent = [torch.optim.SGD(player.parameters(), lr=1e-3) for player in players]
    for _ in range(INNER):
        fake = gen(torch.randn(BATCH, LATENT))
        loss = disc(fake.detach()).mean() - disc(real).mean() + penalty(disc, real, fake)
        descent[1].zero_grad()
        loss.backward()
        descent[1].step()
        descent[0].zero_grad()
        (-disc(gen(torch.randn(BATCH, LATENT))).mean()).backward()
        descent[0].step()


def main(width: int, seconds: float, seed: int) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(seed)
    meta = [Generator(width), Discriminator(width)]
    inner = [Generator(width), Discriminator(width)]
    outer = [torch.optim.Adam(player.parameters(), lr=1e-4) for player in meta]
    pool = torch.rand(64, BATCH, 1, SIDE, SIDE) * 2 - 1
    done, began, busy = 0, 0.0, 0.0
    while True:
        for player, start in zip(inner, meta, strict=True):
            player.load_state_dict(start.state_dict())
        task(inner, pool[done % len(pool)])
        for player, start, optimiser in zip(inner, meta, outer, strict=True):
            for parameter, target in zip(start.parameters(), player.parameters(), strict=True):
                parameter.grad = parameter.detach() - target.detach()
            optimiser.step()
        if done == 0:  # the first task warms up
            began, busy = time.perf_counter(), time.process_time()
        elif time.perf_counter() - began > seconds:
            break
        done += 1
    told = {"tasks": done, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy}
    print(json.dumps(told | {"torch": torch.__version__}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
