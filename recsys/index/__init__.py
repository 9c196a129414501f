"""TOWERS -> INDEX: the top-k contract, exact search, Annoy."""
