"""How initial weights are learned, kept and used."""
