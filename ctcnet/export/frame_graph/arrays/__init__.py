"""The few numpy-like operations that the frame graph is written in, at opset 18.

They are recorded one after the other while a `recording` is open. The same operation on the same arrays is recorded
once.
"""
