"""`python -m mulligan`: the command line."""

from mulligan.cli import main

main()
