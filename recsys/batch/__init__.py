"""FOR EVERYBODY: every user's top k into files."""
