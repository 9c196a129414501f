"""VECTORS -> FIGURES: what a content's vectors know, by tasks, each with a bootstrap interval."""
