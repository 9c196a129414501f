"""Image files -> vectors: pretrained networks, contrastive learning, floors without learning."""
