"""Models shipped with ctcnet: one network for every panel, made from simulated cells, specialised where it is used."""
