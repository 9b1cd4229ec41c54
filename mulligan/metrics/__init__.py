EMBEDDING = "m1"  # of all figures; its network is in `mulligan.metrics.embedding_network`. What selects: `selection.py`
