"""HOW GOOD: metrics, evaluation in blocks, baselines tuned on validation."""
