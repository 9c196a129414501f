"""Sound files -> vectors: pretrained networks, and log-mel statistics as the floor."""
