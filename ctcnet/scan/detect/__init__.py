"""Detection of events in frames, batched in torch on any device."""
