"""The frame graph: one raw frame in, a table of classified events out, in standard ONNX operators alone.

The modules stand for those of `ctcnet.scan.detect` one by one, take every constant from them, and give their events;
`tests/integration/export` compares the two. They are written in ONNX operators because the detector's lists of events
have lengths that depend on the pixels.
"""
