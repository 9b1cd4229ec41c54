"""What the space is made of, and where recipes come from: domains, the default, costs, evolution."""
