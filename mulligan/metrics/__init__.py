EMBEDDING = "m1"  # by which everything that selects compares; its network is in `mulligan.metrics.embedding_network`
