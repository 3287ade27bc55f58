"""Physically sensible simulation of CTC crops, batched in torch. Simulated images are no clinical evidence."""
