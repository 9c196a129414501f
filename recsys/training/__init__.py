"""TOWERS LEARN: batches, the loop, checkpoints, devices."""
