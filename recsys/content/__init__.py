"""ITEMS -> VECTORS: encoders by name, and the store that keeps what they made."""
