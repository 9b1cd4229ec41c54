"""Whether the machine is fit to be measured on."""

import os
import sys


def warn_when_busy() -> None:
    """Says so on stderr when other programs would spoil the figures."""
    if os.getloadavg()[0] > 0.5:
        print(f"the machine is busy (load {os.getloadavg()[0]:.1f}): these figures mean little.", file=sys.stderr)
