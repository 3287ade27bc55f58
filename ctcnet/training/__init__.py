"""Training: the Lightning module, losses, schedule, selection of the best model, run folders and the command line."""
