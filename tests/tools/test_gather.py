"""What the shipped experience is gathered from: recipes that can be trained, in an order that is fixed."""

from itertools import islice

from mulligan.meta.collect.proposals import limits
from mulligan.meta.experience import Experience
from mulligan.meta.space.cost import refusal
from mulligan.meta.space.default import textbook_recipe
from mulligan.tasks.images import read_task
from tools.design import SMALL, by_hand, rows, step
from tools.gather import wanted


def test_every_recipe_of_the_design_can_be_trained_and_is_judged_by_one_average():
    task = read_task("digits", size=16)
    for row in rows():
        recipe = row.recipe(task)
        assert refusal(recipe, task.shape, 0, limits(row.images)) is None
        assert recipe.averages == (() if recipe == textbook_recipe() else ("ema",))


def test_a_step_changes_both_players():
    changed = step(SMALL, lr=1e-3, width=12).to_json()
    assert [changed["hyperparameters"][name] for name in ("gen_lr", "disc_lr")] == [1e-3, 1e-3]
    assert [changed["architecture"][name] for name in ("gen_width", "disc_width")] == [12, 12]
    assert step(SMALL) == SMALL


def test_one_recipe_after_the_other_goes_through_all_tasks(tmp_path):
    tasks = [read_task(name, size=16) for name in ("digits/1", "digits/2")]
    first = list(islice(wanted(tasks, Experience(tmp_path / "x.db")), 4))
    assert [each.task.name for each in first] == ["digits/1", "digits/2"] * 2
    assert [each.recipe for each in first] == [SMALL, SMALL, *map(by_hand, tasks)]
