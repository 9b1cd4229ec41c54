"""What is done on several devices: a program of its own, since a process has as many as it began with.

`run_on_devices` runs it: `chunks OUT`, `population OUT` or `fit RUN [CHUNKS]`.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from mulligan.recipe import Architecture, Hyperparameters, Recipe

ROOT = Path(__file__).resolve().parents[2]
# Not the relativistic loss: there the last bias has no gradient but rounding, which Adam makes as large as any.
CONV = Recipe(
    Architecture(gen_width=4, disc_width=4, latent=8, minibatch_std=True),
    loss="nonsaturating",
    batch=32,
    disc_steps=2,
    augmentation=("translate",),
    hyperparameters=Hyperparameters(augment=0.5),
)
SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
MLP = Recipe(SMALL, batch=32)
IMAGES = 2_000  # of a run


def run_on_devices(here: int, *arguments: object, used: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs this program where the machine seems to have `here` devices, of which `used` are asked for."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={here}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment |= {"MULLIGAN_DEVICES": str(used)} if used else {}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def chunks(out: str) -> None:
    """Three steps on 1, 2 and 8 devices: the parameters that they lead to, and what each program costs."""
    import jax

    from mulligan.tasks.task import Split
    from mulligan.training.engine import compile_engine, make_game, start_state
    from mulligan.training.feed import Feed
    from mulligan.training.mesh import data_mesh, on_mesh

    shape = (8, 8, 1)
    split = Split(np.random.default_rng(0).integers(0, 256, (100, *shape), np.uint8))
    found, costs = {}, {}
    for devices in ("1", "2", "8"):
        os.environ["MULLIGAN_DEVICES"] = devices
        game = on_mesh(make_game(CONV, shape, 0, 1e4), data_mesh(CONV.batch, shape))
        feed, state = Feed(split, False, 0, 0, mesh=game.mesh), start_state(game, CONV, shape, 0, seed=0)
        engine = compile_engine(game, state, feed.data(0))
        costs[devices] = engine.flops_per_step
        state, info = engine.chunk(state, feed.data(0), 3)
        leaves = jax.tree.leaves((state._replace(key=()), info.means))
        assert {len(leaf.devices()) for leaf in leaves} == {int(devices)}
        found[devices] = np.concatenate([np.ravel(leaf) for leaf in leaves])
    np.savez(out, **found)
    print(json.dumps(costs))


def population(out: str) -> None:
    """32 members that 8 devices share, and the same 32 one after the other."""
    import jax

    from mulligan.game.step import Data
    from mulligan.training.engine import compile_engine, make_game, start_state
    from mulligan.training.mesh import member_mesh
    from mulligan.training.population import compile_population, stacked

    shape, seeds = (8, 8, 1), range(32)
    recipe = replace(MLP, loss="nonsaturating", batch=8)
    game = make_game(recipe, shape, 0, 1e4)
    data = Data(jax.numpy.asarray(np.random.default_rng(0).integers(0, 256, (40, *shape), np.uint8)))

    def begun(seed):
        numbers = Hyperparameters(gen_lr=1e-3 * (1 + seed / 8), gamma=0.1 * seed)
        return start_state(game, replace(recipe, hyperparameters=numbers), shape, 0, seed)

    def numbers(state, rows):
        leaves = jax.tree.leaves(state._replace(key=()))
        return np.concatenate([np.reshape(leaf, (rows, -1)) for leaf in leaves], axis=1)

    engine = compile_engine(game, begun(0), data)
    alone = np.concatenate([numbers(engine.chunk(begun(seed), data, 5)[0], 1) for seed in seeds])
    os.environ["MULLIGAN_DEVICES"] = "8"
    states = stacked([begun(seed) for seed in seeds])
    states, _ = compile_population(game, states, data, member_mesh(32)).chunk(states, data, 5)
    for leaf in jax.tree.leaves(states):
        assert {shard.data.shape[0] for shard in leaf.addressable_shards} == {4}
    np.savez(out, alone=alone, together=numbers(states, 32))


def fit(run: str, kill_at: int) -> None:
    """A run from its beginning, or from where it was killed; kills itself after `kill_at` chunks, with 0 never."""
    from mulligan.meta import fit as module
    from mulligan.meta.planning import Options
    from mulligan.training import evaluation
    from mulligan.training.budget import Budget

    evaluation.FAKES, evaluation.FINAL_FAKES = 100, 100
    if Path(run).exists():
        module.resume(Path(run))
        return
    seen = []

    def kill(event):
        seen.append(event["kind"])
        if kill_at and seen.count("chunk") == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    module.fit("digits", Budget(images=IMAGES, seconds=None), Options(out=Path(run), recipe=MLP, listener=kill))


if __name__ == "__main__":
    {"chunks": chunks, "population": population, "fit": lambda run, kill="0": fit(run, int(kill))}[sys.argv[1]](
        *sys.argv[2:]
    )
