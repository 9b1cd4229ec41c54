"""The card of a generator: every fact that there is, no more, and none that could be taken for markup."""

import dataclasses
import json

import pytest

from mulligan.recipe import Architecture, Recipe
from mulligan.training.card import CardFacts, card

RESULT = {
    "split": "test",
    "embedding": "m9",
    "n_real": 500,
    "n_fake": 2000,
    "kid": 0.0123,
    "kid_low": 0.01,
    "kid_high": 0.015,
    "energy": 0.25,
    "energy_low": 0.2,
    "energy_high": 0.3,
    "frechet": 3.4567,
    "precision": 0.8,
    "recall": 0.7,
    "density": 0.9,
    "coverage": None,
    "memorisation": {"ratio": 1.0, "share": 0.04},
    "cost": {"images": 64000, "seconds": 600.0},
}
DATA = {"name": "cats", "hash": "abc", "counts": {"train": 1234, "validation": 100, "test": 100}, "taught": ["dogs"]}
FACTS = CardFacts(
    Recipe(architecture=Architecture("mlp", latent=7)),
    (8, 10, 1),
    ("tabby", "black"),
    1,
    DATA,
    "CC-BY-4.0",
    RESULT,
    "Helps: by 3 points.",
    "gan/",
)


def test_every_fact_is_told():
    text = card(FACTS)
    assert text.startswith("---\nlibrary_name: mulligan\n")
    for told in (
        'license: "CC-BY-4.0"',
        "10x8 images of 2 classes",
        "7 normal numbers",
        "cats (1,234 train, 100 validation, 100 test; only those of `train` were trained on)",
        "images before these: dogs; it began",
        "classes: tabby, black",
        "| KID@m9 (95% interval) | 0.0123 (0.01 to 0.015) |",
        "| energy@m9+pixels (95% interval) | 0.25 (0.2 to 0.3) |",
        "| Frechet@m9 | 3.46 |",
        "| coverage | not measured |",
        "2,000 generated against 500 real images of the test split",
        "64,000 images shown in 600 seconds",
        "Helps: by 3 points.",
        'mulligan.load("gan/")',
        "uint8 [64, 8, 10, 1]",
        "Weights may reveal training images",
    ):
        assert told in text


def test_what_is_not_known_is_said():
    bare = dataclasses.replace(FACTS, classes=None, data=None, licence=None, result=None, proof=None, members=3)
    text = card(bare)
    for told in ("images: not known", "licence of the images: not stated", "has not ended", "Not tried", "3 networks"):
        assert told in text
    assert 'license: "unknown"' in text
    assert "By class" not in text


@pytest.mark.parametrize(("split", "told"), [("train", "no result"), ("held-out", "was chosen as well")])
def test_figures_of_images_that_chose_say_so(split, told):
    assert told in card(dataclasses.replace(FACTS, result=RESULT | {"split": split}))


def test_names_cannot_begin_a_line_a_field_or_a_tag():
    evil = "x\n---\nlicense: mit | <script>`"
    text = card(dataclasses.replace(FACTS, data=DATA | {"name": evil}, classes=(evil, "b"), licence=evil, proof=evil))
    head, body = text.split("\n---\n", 1)
    assert json.loads(head.split("license: ", 1)[1]) == evil
    assert "\nlicense: mit" not in body
    assert "<script" not in body.replace("\\<script", "")


def test_classes_have_a_table_of_their_own():
    each = {"name": "tabby", "n_real": 50, "kid": 0.1, "kid_low": 0.0, "kid_high": 0.2}
    each |= {"precision": 0.5, "recall": 0.25, "coverage": 0.75}
    result = RESULT | {"classes": [each], "worst_class": "tabby"}
    text = card(dataclasses.replace(FACTS, result=result))
    assert "| tabby | 50 | 0.1 (0 to 0.2) | 0.5 | 0.25 | 0.75 |" in text
    assert "The worst class is tabby." in text
