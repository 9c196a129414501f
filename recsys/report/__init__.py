"""TO LOOK AT: pictures of what a run found, and the notebooks that show them."""
