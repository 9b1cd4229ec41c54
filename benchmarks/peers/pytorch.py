"""PyTorch, eager and compiled: the networks, game and optimiser of a workload as a PyTorch user would write them.

    python -m benchmarks.peers.pytorch WORKLOAD_JSON eager|compiled [contiguous|channels_last]

Without a memory layout both are tried and the faster is kept. `torch.compile` cannot differentiate a compiled module
twice, which R1 and R2 need, so the compiled form states its gradients with `torch.func` and compiles the whole step,
optimiser and average included, as one graph. That is its fastest form without penalties too.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp
from torch.nn.functional import softplus

from benchmarks.speed.worker import Contender, Weights, serve
from benchmarks.speed.workload import KERNEL, LEAK, Workload, load_images

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class ToImage(nn.Module):
    """`[n, side * side * channels]` to `[n, channels, side, side]`, where channels vary fastest in the former."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, features: Tensor) -> Tensor:
        return features.view(len(features), self.side, self.side, -1).permute(0, 3, 1, 2)


class ToFeatures(nn.Module):
    """The inverse of `ToImage`."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)


def networks(workload: Workload) -> tuple[nn.Module, nn.Module]:
    """Generator, `[n, latent]` to `[n, c, h, w]`, and discriminator, to `[n, 1]`."""
    w, c, pixels, leak = workload.width, workload.channels, workload.pixels, partial(nn.LeakyReLU, LEAK)
    if workload.family == "mlp":
        gen = [nn.Linear(workload.latent, w), leak(), nn.Linear(w, w), leak(), nn.Linear(w, pixels)]
        disc = [ToFeatures(), nn.Linear(pixels, w), leak(), nn.Linear(w, w), leak(), nn.Linear(w, 1)]
        return nn.Sequential(*gen, ToImage(workload.height), nn.Tanh()), nn.Sequential(*disc)
    side, coarse = workload.grid, workload.grid**2 * 2 * w
    up = partial(nn.ConvTranspose2d, kernel_size=KERNEL, stride=2, padding=1)
    down = partial(nn.Conv2d, kernel_size=KERNEL, stride=2, padding=1)
    gen = [nn.Linear(workload.latent, coarse), ToImage(side), leak(), up(2 * w, w), leak(), up(w, c), nn.Tanh()]
    disc = [down(c, w), leak(), down(w, 2 * w), leak(), ToFeatures(), nn.Linear(coarse, 1)]
    return nn.Sequential(*gen), nn.Sequential(*disc)


def disc_loss(workload: Workload, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's mean loss from its logits."""
    if workload.loss == "relativistic":
        return softplus(fake - real).mean()
    return (softplus(-real) + softplus(fake)).mean()


def gen_loss(workload: Workload, real: Tensor | None, fake: Tensor) -> Tensor:
    return softplus(-fake if real is None else real - fake).mean()


class Training:
    """Networks, optimiser state and resident images of one run; `step` takes `[batch, c, h, w]` uint8 and latents."""

    def __init__(self, workload: Workload, layout: str):
        self.workload, self.format = workload, LAYOUTS[layout]
        self.gen, self.disc = (net.to(memory_format=self.format) for net in networks(workload))
        self.average = [p.detach().clone() for p in self.gen.parameters()]
        images = self._here(load_images(workload)).permute(0, 3, 1, 2)
        self.images = images.contiguous(memory_format=self.format)

    def step(self, pixels: Tensor, latent: Tensor) -> None:
        raise NotImplementedError

    def run(self, steps: int) -> None:
        batch, latent = self.workload.batch, self.workload.latent
        for _ in range(steps):
            chosen = torch.randint(len(self.images), (batch,))
            self.step(self.images[chosen], torch.randn(batch, latent))
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def _here(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(torch.get_default_device())

    def replay(self, start: Weights, batches: np.ndarray, latents: np.ndarray) -> Weights:
        held = Weights(list(self.gen.parameters()), list(self.disc.parameters()), self.average)
        with torch.no_grad():
            for given, tensors in zip(start, held, strict=True):
                for weights, tensor in zip(given, tensors, strict=True):
                    tensor.copy_(self._here(_to_torch(weights)))
        for pixels, latent in zip(self._here(batches), self._here(latents), strict=True):
            self.step(pixels.permute(0, 3, 1, 2).contiguous(memory_format=self.format), latent)
        return Weights(*([_from_torch(tensor.detach().cpu().numpy()) for tensor in tensors] for tensors in held))


def _to_torch(weights: np.ndarray) -> np.ndarray:
    """From Keras's order of axes; a transposed convolution's inputs and outputs are already swapped there."""
    return weights.transpose(3, 2, 0, 1) if weights.ndim == 4 else weights.T


def _from_torch(weights: np.ndarray) -> np.ndarray:
    return weights.transpose(2, 3, 1, 0) if weights.ndim == 4 else weights.T


class Eager(Training):
    """The usual training loop: two backward passes, fused Adam, the average by one `_foreach` call."""

    def __init__(self, workload: Workload, layout: str):
        super().__init__(workload, layout)
        adam = partial(
            torch.optim.Adam,
            lr=workload.learning_rate,
            betas=(workload.beta1, workload.beta2),
            eps=workload.epsilon,
            fused=True,
        )
        self.gen_weights, self.disc_weights = list(self.gen.parameters()), list(self.disc.parameters())
        self.gen_adam, self.disc_adam = adam(self.gen_weights), adam(self.disc_weights)

    def step(self, pixels: Tensor, latent: Tensor) -> None:
        real = pixels.float().div_(127.5).sub_(1)
        fake = self.gen(latent)
        self.disc_adam.zero_grad()
        self._disc_objective(real, fake.detach()).backward(inputs=self.disc_weights)
        self.disc_adam.step()
        self.gen_adam.zero_grad()
        self._gen_objective(real, fake).backward(inputs=self.gen_weights)
        self.gen_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.gen_weights, 1 - self.workload.ema_decay)

    def _disc_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        both = torch.cat([real, fake])
        if self.workload.gamma == 0:
            return disc_loss(self.workload, *self.disc(both).chunk(2))
        logits = self.disc(both.requires_grad_())
        (slopes,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
        penalty = slopes.square().sum() / len(real)
        return disc_loss(self.workload, *logits.chunk(2)) + self.workload.gamma / 2 * penalty

    def _gen_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.workload.loss != "relativistic":
            return gen_loss(self.workload, None, self.disc(fake))
        with torch.no_grad():
            real_logits = self.disc(real)
        return gen_loss(self.workload, real_logits, self.disc(fake))


class Compiled(Training):
    """The whole step as one graph of `torch.compile`."""

    def __init__(self, workload: Workload, layout: str):
        super().__init__(workload, layout)
        self.gen_weights, self.disc_weights = (
            {name: p.detach() for name, p in net.named_parameters()} for net in (self.gen, self.disc)
        )
        moments = lambda weights: [[torch.zeros_like(p) for p in weights.values()] for _ in range(2)]  # noqa: E731
        self.gen_moments, self.disc_moments = moments(self.gen_weights), moments(self.disc_weights)
        self.steps = torch.zeros(())
        self.compiled = torch.compile(self._step, fullgraph=True)

    @torch.no_grad()
    def step(self, pixels: Tensor, latent: Tensor) -> None:
        self.steps.add_(
            1
        )  # outside the graph: with the counter inside, inductor of torch 2.13 updates wrongly on two threads
        self.compiled(pixels, latent)

    def _step(self, pixels: Tensor, latent: Tensor) -> None:
        real = pixels.float() / 127.5 - 1
        fake, pull = vjp(lambda weights: functional_call(self.gen, weights, (latent,)), self.gen_weights)
        self._adam(self.disc_weights, self.disc_moments, grad(self._disc_objective)(self.disc_weights, real, fake))
        self._adam(self.gen_weights, self.gen_moments, pull(grad(self._gen_objective)(fake, real))[0])
        torch._foreach_lerp_(self.average, list(self.gen_weights.values()), 1 - self.workload.ema_decay)

    def _disc(self, weights: dict[str, Tensor], images: Tensor) -> Tensor:
        return functional_call(self.disc, weights, (images,))

    def _disc_objective(self, weights: dict[str, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        both = torch.cat([real, fake])
        if self.workload.gamma == 0:
            return disc_loss(self.workload, *self._disc(weights, both).chunk(2))
        logits, pull = vjp(partial(self._disc, weights), both)
        (slopes,) = pull(torch.ones_like(logits))
        penalty = slopes.square().sum() / len(real)
        return disc_loss(self.workload, *logits.chunk(2)) + self.workload.gamma / 2 * penalty

    def _gen_objective(self, fake: Tensor, real: Tensor) -> Tensor:
        relativistic = self.workload.loss == "relativistic"
        real_logits = self._disc(self.disc_weights, real) if relativistic else None
        return gen_loss(self.workload, real_logits, self._disc(self.disc_weights, fake))

    def _adam(self, weights: dict[str, Tensor], moments: list[list[Tensor]], slopes: dict[str, Tensor]) -> None:
        """Adam (Kingma and Ba 2015, algorithm 1) in place; inductor fuses it, as it does `torch.optim`'s."""
        beta1, beta2 = self.workload.beta1, self.workload.beta2
        correction1, correction2 = 1 - beta1**self.steps, (1 - beta2**self.steps).sqrt()
        for p, m, v, g in zip(weights.values(), *moments, slopes.values(), strict=True):
            m.lerp_(g, 1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            p.sub_(self.workload.learning_rate / correction1 * m / (v.sqrt() / correction2 + self.workload.epsilon))


FORMS: dict[str, type[Training]] = {"eager": Eager, "compiled": Compiled}


def prepare(workload: Workload, form: str, layouts: list[str]) -> Contender:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    if torch.cuda.is_available():
        torch.set_default_device("cuda")
        torch.backends.cuda.matmul.allow_tf32 = True  # as JAX computes there
    forms = {layout: FORMS[form](workload, layout) for layout in layouts}
    first = forms[layouts[0]]
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    parameters = {"gen_parameters": count(first.gen), "disc_parameters": count(first.disc)}
    return Contender({"torch": torch.__version__, **parameters}, dict(forms))


if __name__ == "__main__":
    document, form, *layouts = sys.argv[1:]
    serve(lambda: prepare(Workload.from_json(document), form, layouts or list(LAYOUTS)))
