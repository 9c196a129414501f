"""Where pretrained weights come from: packages that carry them, a hub, a folder of one's own."""
