"""A small web page that draws from a trained generator, on this machine alone."""
