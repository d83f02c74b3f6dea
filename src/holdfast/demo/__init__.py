"""``holdfast demo``: an organisation at work, one process of it killed, and the proof."""
