"""VECTORS -> TOWERS: fusion of id and content, the item tower, the user tower, losses."""
