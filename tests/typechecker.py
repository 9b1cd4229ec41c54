"""The type checker of the tests, for jaxtyping's import hook, which takes it by name."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float, as pyright has it
