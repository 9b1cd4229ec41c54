"""Clusters by their names."""

import sys
from types import SimpleNamespace

import pytest

import mulligan
from mulligan.errors import MulliganError, UsageError
from mulligan.meta.cluster import join


def test_what_names_no_cluster_is_told_before_any_image_is_read(tmp_path):
    with pytest.raises(UsageError, match=r"invalid workers '3': .* ray, or ray://HOST:PORT"):
        mulligan.fit(tmp_path / "nothing", workers="3")


def test_a_cluster_that_does_not_answer_is_one_sentence(monkeypatch):
    def nobody(**told):
        assert told["address"] == "ray://head:1"
        raise ConnectionError("ray client connection timeout")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=nobody))
    with pytest.raises(MulliganError, match=r"^no Ray cluster answers at ray://head:1: ray client connection timeout$"):
        join("ray://head:1")


def test_without_ray_it_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[ray\]'"):
        join("ray")
