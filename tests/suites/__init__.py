"""One shared suite per protocol, run by every implementation."""
