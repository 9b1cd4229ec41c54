"""The quality benchmark goes on where it was stopped, and its table says what its results say."""

from benchmarks.quality.equal_seconds import Bench, table


def test_results_are_known_after_a_restart(tmp_path):
    bench = Bench(tmp_path, tmp_path, seconds=60.0)
    bench.add("run", set="mnist", contender="mulligan", seed=0, kid=0.5)
    again = Bench(tmp_path, tmp_path, seconds=60.0)
    known = again.known("run", set="mnist", contender="mulligan", seed=0, seconds=60.0)
    assert known is not None
    assert known["kid"] == 0.5
    assert again.known("run", set="mnist", contender="mulligan", seed=1, seconds=60.0) is None
    assert again.known("run", set="mnist", contender="mulligan", seed=0, seconds=120.0) is None


def test_the_table_shows_medians_and_ranges(tmp_path):
    bench = Bench(tmp_path, tmp_path, seconds=60.0)
    for seed in range(3):
        for contender, kid in (("mulligan", 0.1), ("textbook", 0.4)):
            bench.add("run", set="mnist", contender=contender, seed=seed, kid=kid * (seed + 1), frechet=1.0)
    shown = table(bench, ["mnist", "cifar10"], [0, 1, 2])
    assert "| mnist | KID@m1 | 0.2000 (0.1000..0.3000) | 0.8000 (0.4000..1.2000) | 0.25 |" in shown
    assert "cifar10" not in shown
