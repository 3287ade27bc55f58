"""Evaluation of a trained classifier on crops it never saw: figures with intervals, rare-event statistics, a report.

Nothing is fitted here. Everything works on arrays and a `Predictor`; no module imports torch.
"""
