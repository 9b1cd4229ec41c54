"""Draws a run from its folder alone: image grids, the HTML page, TensorBoard files. Computes no result."""
