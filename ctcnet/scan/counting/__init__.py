"""Counts of rare events: intervals, corrections and what the doubtful events would do to them."""
