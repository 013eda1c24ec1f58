"""The command ``fetch``."""

from typing import Annotated

import typer

from maskwright.cli.console import print_line
from maskwright.cli.options import NO_DEFAULT


def fetch(
    name: Annotated[str, typer.Argument(help="Name of a backbone, see `maskwright backbones`.", **NO_DEFAULT)],
    weights: Annotated[str, typer.Option("--weights", help="Data set on which the weights were trained.")] = "imagenet",
) -> None:
    """Download the published weights of a backbone, so that later commands need no network.

    Weights in an installed package or in the cache are not downloaded.
    """
    from maskwright.errors import one_of
    from maskwright.weights.catalogue import PACKAGED, PUBLISHED
    from maskwright.weights.digests import sha256_of
    from maskwright.weights.download import cached
    from maskwright.weights.download import fetch as download
    from maskwright.weights.packaged import installed_file

    models = dict.fromkeys(model for model, _, _ in PUBLISHED)
    one_of("NAME", name, models)
    files = {dataset: file for (model, dataset, top), file in PUBLISHED.items() if model == name and not top}
    file, packaged = one_of("--weights", weights, files), PACKAGED.get((name, weights))
    path = None if packaged is None else installed_file(packaged)
    if packaged is not None and path is not None:
        state, origin, license = "installed", f"package {packaged.package}", packaged.license
    else:
        path, state = cached(file), "in the cache"
        if path is None:
            path, state = download(file), "downloaded"
        origin, license = file.address, file.license
    print_line(f"{name}, {weights}: {state}")
    for label, value in (("file", path), ("SHA-256", sha256_of(path)), ("origin", origin), ("license", license)):
        print_line(f"  {label:<8} {value}")
