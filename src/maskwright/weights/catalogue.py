"""Files of weights that others published: where each lies, and the digest by which it is known. Data only.

Sources: the image-classifiers 1.0.0 release on GitHub, for the encoders of the reference library; torchvision's model
zoo, for the post-activation ResNets. Both trained on the data set named and are the work of their authors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal


@dataclass(frozen=True)
class PublishedFile:
    """A file at ``base`` + ``name`` whose ``algorithm`` digest starts with ``digest``, in hexadecimal.

    >>> file = PUBLISHED["resnet34", "imagenet", False]
    >>> file.name, file.algorithm, file.classes
    ('resnet34_imagenet_1000_no_top.h5', 'md5', 1000)
    """

    name: str
    base: str
    algorithm: Literal["md5", "sha256"]
    digest: str
    classes: int

    @property
    def address(self) -> str:
        """Where the file is downloaded from."""
        return self.base + self.name


_IMAGE_CLASSIFIERS: Final = "https://github.com/qubvel/classification_models/releases/download/0.0.1/"
_TORCHVISION: Final = "https://download.pytorch.org/models/"

# Model, data set, classes; the publisher's MD5 of the file with the classifier and of the file without.
_LEGACY_ROWS: Final = (
    ("resnet18", "imagenet", 1000, "64da73012bb70e16c901316c201d9803", "318e3ac0cd98d51e917526c9f62f0b50"),
    ("resnet34", "imagenet", 1000, "2ac8277412f65e5d047f255bcbd10383", "8caaa0ad39d927cb8ba5385bf945d582"),
    ("resnet50", "imagenet", 1000, "d0feba4fc650e68ac8c19166ee1ba87f", "db3b217156506944570ac220086f09b6"),
    (
        "resnet50",
        "imagenet11k-places365ch",
        11586,
        "bb8963db145bc9906452b3d9c9917275",
        "d8bf4e7ea082d9d43e37644da217324a",
    ),
    ("resnet101", "imagenet", 1000, "9489ed2d5d0037538134c880167622ad", "1016e7663980d5597a4e224d915c342d"),
    ("resnet152", "imagenet", 1000, "1efffbcc0708fb0d46a9d096ae14f905", "5867b94098df4640918941115db93734"),
    ("resnet152", "imagenet11k", 11221, "24791790f6ef32f274430ce4a2ffee5d", "25ab66dec217cb774a27d0f3659cafb3"),
    ("seresnet18", "imagenet", 1000, "9a925fd96d050dbf7cc4c54aabfcf749", "a46e5cd4114ac946ecdc58741e8d92ea"),
    ("seresnet34", "imagenet", 1000, "863976b3bd439ff0cc05c91821218a6b", "3348fd049f1f9ad307c070ff2b6ec4cb"),
    ("seresnet50", "imagenet", 1000, "ff0ce1ed5accaad05d113ecef2d29149", "043777781b0d5ca756474d60bf115ef1"),
    ("seresnet101", "imagenet", 1000, "5c31adee48c82a66a32dee3d442f5be8", "1c373b0c196918713da86951d1239007"),
    ("seresnet152", "imagenet", 1000, "96fc14e3a939d4627b0174a0e80c7371", "f58d4c1a511c7445ab9a2c2b83ee4e7b"),
    ("resnext50", "imagenet", 1000, "7c5c40381efb044a8dea5287ab2c83db", "7ade5c8aac9194af79b1724229bdaa50"),
    ("resnext101", "imagenet", 1000, "432536e85ee811568a0851c328182735", "91fe0126320e49f6ee607a0719828c7e"),
    ("seresnext50", "imagenet", 1000, "5310dcd58ed573aecdab99f8df1121d5", "b0f23d2e1cd406d67335fb92d85cc279"),
    ("seresnext101", "imagenet", 1000, "be5b26b697a0f7f11efaa1bb6272fc84", "e48708cbe40071cc3356016c37f6c9c7"),
    ("senet154", "imagenet", 1000, "c8eac0e1940ea4d8a2e0b2eb0cdf4e75", "d854ff2cd7e6a87b05a8124cd283e0f2"),
)

# Model; the start of its file's SHA-256, which the file's name repeats. Each file holds the classifier too.
_TORCH_ROWS: Final = (
    ("resnet18", "f37072fd"),
    ("resnet34", "b627a593"),
    ("resnet50", "0676ba61"),
    ("resnet101", "63fe2227"),
    ("resnet152", "394f9c45"),
)

Key = tuple[str, str, bool]  # model, data set, whether the classifier is wanted


def _legacy_files() -> Iterator[tuple[Key, PublishedFile]]:
    for model, dataset, classes, *digests in _LEGACY_ROWS:
        for top, digest in zip((True, False), digests, strict=True):
            name = f"{model}_{dataset}_{classes}{'' if top else '_no_top'}.h5"
            yield (model, dataset, top), PublishedFile(name, _IMAGE_CLASSIFIERS, "md5", digest, classes)


def _torch_files() -> Iterator[tuple[Key, PublishedFile]]:
    for model, digest in _TORCH_ROWS:
        file = PublishedFile(f"{model}-{digest}.pth", _TORCHVISION, "sha256", digest, classes=1000)
        yield from (((f"{model}_v1", "imagenet", top), file) for top in (True, False))


PUBLISHED: Final[Mapping[Key, PublishedFile]] = dict(chain(_legacy_files(), _torch_files()))
