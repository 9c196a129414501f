"""LOG -> DATASET: readers, ids, the frozen data set, splits, built-in sources."""
