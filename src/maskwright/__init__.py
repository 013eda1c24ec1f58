"""Maskwright: folders of images and masks in, a trained U-Net and masks for new images out."""
