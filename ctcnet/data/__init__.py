"""Training data: crops read in batches, augmented, divided by group, and loaded in an order that can be resumed."""
