from maskwright.losses import DiceLoss, JaccardLoss  # noqa: F401
