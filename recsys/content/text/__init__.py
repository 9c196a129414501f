"""Texts -> vectors: what was learnt elsewhere, what is learnt here, and floors without learning."""
