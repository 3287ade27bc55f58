"""Train, validate and test classifiers: `python train.py fit --config configs/five_class.yaml --data.manifest M`."""

from ctcnet.training.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
