"""Images to learn from that nobody took: objects before a ground, drawn at random.

Photographs whose licence lets weights ship are few, and of a few subjects. What they share with others can be drawn
without end: something in the middle, of one or several parts that are lit from one side, before a ground that is softer
than it, both of colours that go together. No photograph, no model and no data set went into this.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter
from scipy.special import expit

Plane = Float[np.ndarray, "size size"]
Picture = Float[np.ndarray, "size size 3"]
Random = np.random.Generator
WHITE = 0.75  # of the plain grounds; the others are black
LARGE, SMALL = (0.19, 0.42), (0.08, 0.22)  # radii of a single object, and of one among several, in sides


class Colour(NamedTuple):
    """Hue, saturation and value, each of 0 to 1."""

    hue: float
    saturation: float
    value: float

    def rgb(self) -> Float[np.ndarray, "3"]:
        return np.array(colorsys.hsv_to_rgb(*self))


class Place(NamedTuple):
    """Where a part lies, in pixels: its middle, its radius, how many times as high as wide, and its angle."""

    x: float
    y: float
    radius: float
    aspect: float
    angle: float


def things(n: int, size: int, seed: int = 0) -> UInt8[np.ndarray, "n {size} {size} 3"]:
    """So many pictures of `size` pixels a side, each of objects that no other has."""
    rng = np.random.default_rng(seed)
    return np.stack([np.rint(255 * _picture(rng, size)).astype(np.uint8) for _ in range(n)])


def _picture(rng: Random, size: int) -> Picture:
    image, light = _ground(rng, size), rng.uniform(0, 2 * np.pi)
    edge = rng.choice([0.6, 0.9, 1.5])  # pixels, over which all outlines fade
    for part, colour in _objects(rng, size):
        inside, far = _outline(rng, part, size)
        body = _body(rng, part, colour, light, inside, far)
        image = _mixed(body, image, np.clip(inside / edge + 0.5, 0, 1))
    image = image + rng.uniform(0, 0.02) * rng.standard_normal(image.shape)
    return np.clip(0.5 + (image - 0.5) * rng.uniform(0.8, 1.2) + rng.normal(0, 0.05), 0, 1)


def _ground(rng: Random, size: int) -> Picture:
    """A plain, or two colours that flow into each other; at times with a horizon, a texture or out of focus."""
    colour = _colour(rng)
    if rng.random() < 0.35:
        value = rng.uniform(0.85, 1) if rng.random() < WHITE else rng.uniform(0, 0.15)
        colour = Colour(colour.hue, 0.1 * colour.saturation, value)
    clouds = _noise(rng, size, rng.uniform(2.2, 3.2)) * rng.uniform(0.3, 2)
    image = _mixed(colour.rgb(), _near(rng, colour).rgb(), expit(clouds))
    if rng.random() < 0.3:
        height, rough = rng.uniform(0.3, 0.8) * size, rng.uniform(0, 4) * _noise(rng, size, 2.4)
        below = (np.mgrid[:size, :size][0] - height + rough) / rng.uniform(0.5, 4)
        image = _mixed(_colour(rng).rgb(), image, expit(below))
    image = image + rng.choice([0.0, 0.03, 0.1], p=[0.35, 0.4, 0.25]) * _texture(rng, size)[..., None]
    return gaussian_filter(image, (blur := rng.choice([0.0, 1.0, 2.5]), blur, 0), mode="nearest")


def _objects(rng: Random, size: int) -> Iterator[tuple[Place, Colour]]:
    """The parts of each object, from the back to the front: a body, and up to four upon it."""
    several = rng.random() < 0.3
    for _ in range(rng.integers(2, 7) if several else 1):
        middle = rng.uniform(0.12, 0.88, 2) if several else rng.normal(0.5, 0.06, 2)
        radius, angle = rng.uniform(*(SMALL if several else LARGE)), rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
        x, y = size * middle
        body, colour = Place(x, y, size * radius, np.exp(rng.uniform(-1, 0.3)), angle), _colour(rng)
        yield body, colour
        for _ in range(rng.integers(0, 5)):
            towards, far = rng.uniform(0, 2 * np.pi), body.radius * rng.uniform(0.3, 1)
            x, y = body.x + far * np.cos(towards), body.y + far * np.sin(towards)
            radius, aspect = body.radius * rng.uniform(0.2, 0.6), np.exp(rng.uniform(-1.2, 0))
            part = Place(x, y, radius, aspect, rng.uniform(0, np.pi))
            yield part, _near(rng, colour) if rng.random() < 0.7 else _colour(rng)


def _outline(rng: Random, part: Place, size: int) -> tuple[Plane, Plane]:
    """How far inside of a part each pixel lies, in pixels, and how far from its middle, in radii.

    Parts are round with waves of some frequencies about their middle, or squares with round corners.
    """
    down, across = np.mgrid[:size, :size]
    along, aside = _turned(across - part.x, down - part.y, part.angle)
    u, v = along / part.radius, aside / (part.radius * part.aspect)
    if rng.random() < 0.7:
        far, about = np.hypot(u, v), np.arctan2(v, u)
        height, fall = 2 * rng.uniform(0.05, 0.3), rng.uniform(1, 2)
        waves = (rng.normal() / k**fall * np.cos(k * about + rng.uniform(0, 6.3)) for k in range(2, rng.integers(3, 9)))
        return part.radius * (np.clip(1 + height * sum(waves), 0.25, 2) - far), far
    corners = rng.uniform(2.5, 10)
    far = (np.abs(u) ** corners + np.abs(v) ** corners) ** (1 / corners)
    return part.radius * min(1, part.aspect) * (1 - far), far


def _body(rng: Random, part: Place, colour: Colour, light: float, inside: Plane, far: Plane) -> Picture:
    """What a part looks like: lit from one side, darker to its rim; at times with a texture, an outline or a gloss."""
    size = len(inside)
    down, across = np.mgrid[:size, :size]
    x, y = (across - part.x) / part.radius, (down - part.y) / part.radius
    shade = 1 + rng.uniform(0, 0.5) * (x * np.cos(light) + y * np.sin(light)) - rng.uniform(0, 0.35) * far**2
    shade = shade + rng.choice([0.0, 0.06, 0.2], p=[0.3, 0.45, 0.25]) * _texture(rng, size)
    body = np.clip(colour.rgb() * shade[..., None], 0, 1.1)
    if rng.random() < 0.25:
        body = body * (1 - rng.uniform(0.4, 1) * np.exp(-((inside / rng.uniform(0.7, 2)) ** 2)))[..., None]
    if rng.random() < 0.2:
        gloss = np.exp(-((x - 0.35 * np.cos(light)) ** 2 + (y - 0.35 * np.sin(light)) ** 2) / 0.25**2)
        body = body + rng.uniform(0.2, 0.6) * gloss[..., None]
    return body


def _texture(rng: Random, size: int) -> Plane:
    """Clouds or grain, of zero mean; at times with hard edges, as spots and stripes have them."""
    plane = _noise(rng, size, rng.uniform(0.8, 2.8))
    return np.tanh(rng.uniform(1, 3) * (plane - rng.uniform(-0.8, 0.8))) if rng.random() < 0.4 else plane


def _noise(rng: Random, size: int, slope: float) -> Plane:
    """A random field of mean 0 and deviation 1: amplitudes fall as the frequency to the power of `slope`.

    Half of them are stretched along some direction, a third of them have a grain of one size.
    """
    down, across = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 1.4)) if rng.random() < 0.5 else 1.0
    along, aside = _turned(across, down, angle)
    frequency = np.hypot(along * stretch, aside / stretch) + 1 / size
    amplitude = frequency**-slope
    if rng.random() < 0.35:
        grain = np.exp(rng.uniform(np.log(2 / size), np.log(16 / size)))
        amplitude = amplitude * np.exp(-((np.log(frequency / grain) / rng.uniform(0.3, 0.9)) ** 2))
    plane = np.fft.ifft2(amplitude * np.fft.fft2(rng.standard_normal((size, size)))).real
    return (plane - plane.mean()) / (plane.std() + 1e-9)


def _colour(rng: Random) -> Colour:
    """Any hue; more often dull than bright."""
    return Colour(rng.random(), rng.beta(1.1, 2), rng.beta(1.5, 1.2))


def _near(rng: Random, colour: Colour) -> Colour:
    """One that goes with another."""
    saturation, value = colour.saturation + rng.normal(0, 0.15), colour.value + rng.normal(0, 0.25)
    return Colour((colour.hue + rng.normal(0, 0.07)) % 1, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))


def _turned(across: Plane, down: Plane, angle: float) -> tuple[Plane, Plane]:
    """Coordinates along a direction, and aside from it."""
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * across + sin * down, cos * down - sin * across


def _mixed(first: np.ndarray, second: np.ndarray, share: Plane) -> Picture:
    """Of two pictures or colours, so much of the first."""
    return first * share[..., None] + second * (1 - share[..., None])
