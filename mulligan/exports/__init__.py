"""Trained generators for other programs: Keras, TensorFlow, ONNX, safetensors; each file checked by its own runtime."""
