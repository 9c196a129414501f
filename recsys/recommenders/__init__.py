"""WHO GETS WHAT: the two towers and the baselines behind one protocol."""
