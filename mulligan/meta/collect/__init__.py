"""How experience is gathered: trials, their order, workers and where they run."""
