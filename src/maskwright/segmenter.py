"""Train, load, evaluate and export a segmentation network through one class, `Segmenter`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.images.read import read_image
from maskwright.inference.device import parse_device
from maskwright.inference.engines.record import EngineRecord, is_exported
from maskwright.inference.ensemble import Ensemble, EnsembleByWindows, is_ensemble, read_ensemble
from maskwright.inference.load_predictor import Predictor, load_predictor, predictor_digest
from maskwright.inference.predict_folder import FileResult, PredictionJob, predict_files
from maskwright.inference.predict_image import predict_indices, predict_probabilities

if TYPE_CHECKING:  # these modules import Keras, which an exported engine does not need
    import keras

    from maskwright.data.check import CheckReport
    from maskwright.data.label_table import MaskKind
    from maskwright.data.mask_values import MaskValues
    from maskwright.inference.bundle import Bundle, OutputKind
    from maskwright.inference.engines.record import EnginePrecision, Runtime
    from maskwright.inference.large.dask_cluster import Cluster
    from maskwright.inference.large.predict_large import LargePredictionResult
    from maskwright.training.custom import CustomParts
    from maskwright.training.evaluate import Evaluation
    from maskwright.training.prepare import DataCheck
    from maskwright.training.recipe import Recipe
    from maskwright.training.reporter import Reporter

_REPORT_PACKAGES = ("jinja2", "matplotlib")  # imported after training, but checked before it

ImageInput = str | Path | NDArray[np.generic]


@final
class Segmenter:
    """A trained network with everything needed for prediction, created by `train` or `load`.

    The inference engine is opened when it is first used.

    Args:
        folder: Folder of a run, an ensemble or an exported engine.
        device: Device for prediction; see `load`.
    """

    def __init__(self, folder: Path, *, device: str | None = None) -> None:
        self.folder = folder
        self._device = None if device is None else parse_device(device)

    @cached_property
    def engine(self) -> Predictor:
        """Inference engine opened from the folder."""
        return load_predictor(self.folder, device=self._device)

    @classmethod
    def train(
        cls,
        images: str | Path,
        masks: str | Path,
        *,
        out: str | Path,
        val_images: str | Path | None = None,
        val_masks: str | Path | None = None,
        mask_kind: MaskKind | None = None,
        classes: int | Sequence[str] | None = None,
        ignore: int | str | None = None,
        mask_values: Mapping[int | str, str] | None = None,
        mask_suffix: str | None = None,
        time_budget: str | float | None = None,
        epochs: int | None = None,
        start_from: str | Path | None = None,
        recipe: Mapping[str, Mapping[str, object]] | None = None,
        augmentation: Callable[..., Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        network: Callable[[int, int, str], keras.Model] | None = None,
        callback: Callable[[Mapping[str, Any]], None] | None = None,
        overwrite: bool = False,
        reporter: Reporter | None = None,
    ) -> Segmenter:
        """Train on a folder of images and a folder of masks, and write the run to the folder ``out``.

        Args:
            images: Folder of images.
            masks: Folder of masks, paired with the images by file stem.
            out: Folder of the run, new or empty. An unfinished run with the same arguments is resumed.
            val_images: Folder of validation images. If absent, a fifth of the pairs is held out.
            val_masks: Folder of validation masks, paired with the validation images by file stem.
            mask_kind: Meaning of the numbers in masks: ``"class_ids"``, one value per class, or ``"objects"``, in which
                0 is background and every other value is an object; all objects are one class. If absent, the values are
                class ids.
            classes: Number of classes, or class names in order of mask value. If absent, the classes are read from the
                masks.
            ignore: Mask value of pixels that are excluded from the loss and the scores.
            mask_values: Meaning of each mask value: a class name, ``background`` or ``ignored``. Cannot be combined
                with ``classes`` or ``ignore``.
            mask_suffix: Suffix that mask file names have after the stem of the image's file name, such as ``"_mask"``.
            time_budget: Time budget for the whole call, as a number of seconds or text such as ``"20m"``.
            epochs: Number of epochs, as an alternative to ``time_budget``.
            start_from: Trained network from which training starts: the folder of a run, or a ``.keras``, ``.h5`` or
                ``.safetensors`` file.
            recipe: Other fields of the recipe, by section, such as ``{"training": {"batch_size": 4}}``.
            augmentation: Function ``augmentation(image=..., mask=...)`` that replaces the augmentation of the recipe,
                see `CallableAugmentation`.
            loss: Function ``loss(y_true, y_pred)`` that replaces the loss of the recipe. It computes a scalar from
                label indices (n, h, w), which are 255 for ignored pixels, and probabilities (n, h, w, classes).
            network: Function ``network(channels, classes, activation)`` that replaces the network of the recipe. It
                returns a functional Keras model of Keras layers for images of any size divisible by 32.
            callback: Function called with each row of the history, a mapping from column name to number.
            overwrite: Whether to replace an existing run.
            reporter: Object that receives the progress. If absent, nothing is shown.

        Raises:
            InputError: A folder of images or masks, the recipe or ``out`` is invalid.
        """
        from maskwright.training.custom import CustomParts
        from maskwright.training.recipe import Recipe
        from maskwright.training.recipe_fields import recipe_fields

        fields = recipe_fields(
            images=images,
            masks=masks,
            val_images=val_images,
            val_masks=val_masks,
            mask_kind=mask_kind,
            classes=classes,
            ignore=ignore,
            mask_values=mask_values,
            mask_suffix=mask_suffix,
            time_budget=time_budget,
            epochs=epochs,
            start_from=start_from,
            recipe=recipe,
        )
        custom = CustomParts(augmentation=augmentation, loss=loss, network=network, callback=callback)
        complete = Recipe.from_dict(fields)
        return cls.train_recipe(complete, out, overwrite=overwrite, custom=custom, reporter=reporter)

    @classmethod
    def train_recipe(
        cls,
        recipe: Recipe | None,
        out: str | Path,
        *,
        overwrite: bool = False,
        custom: CustomParts | None = None,
        reporter: Reporter | None = None,
        started: float | None = None,
        check: DataCheck | None = None,
    ) -> Segmenter:
        """Train with ``recipe``, tune and write the report; if ``recipe`` is None, resume the run in ``out``.

        The other arguments and the exceptions are the same as those of `maskwright.training.train.train`.
        """
        from maskwright.training.custom import NO_CUSTOM_PARTS
        from maskwright.training.prepare import check_data
        from maskwright.training.train import resume, train
        from maskwright.tune.after_training import TuningAfterTraining

        for package in _REPORT_PACKAGES:
            if find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        custom = custom or NO_CUSTOM_PARTS
        if recipe is None:
            run = resume(out, custom=custom, reporter=reporter, started=started, tuner=TuningAfterTraining())
        else:
            run = train(
                recipe,
                out,
                overwrite=overwrite,
                custom=custom,
                reporter=reporter,
                started=started,
                check=check or check_data,
                tuner=TuningAfterTraining(),
            )
        from maskwright.report.page import write_report

        write_report(run.folder)
        return cls(run.folder)

    @classmethod
    def resume(
        cls,
        out: str | Path,
        *,
        augmentation: Callable[..., Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        network: Callable[[int, int, str], keras.Model] | None = None,
        callback: Callable[[Mapping[str, Any]], None] | None = None,
        reporter: Reporter | None = None,
    ) -> Segmenter:
        """Resume the interrupted run in ``out`` with the recipe of the run. The other arguments are described in
        `train`.

        Raises:
            NothingToResume: There is no run in ``out``, or the run is complete.
            OtherRecipe: The run was started with other custom functions.
        """
        from maskwright.training.custom import CustomParts

        custom = CustomParts(augmentation=augmentation, loss=loss, network=network, callback=callback)
        return cls.train_recipe(None, out, custom=custom, reporter=reporter)

    @staticmethod
    def check(images: str | Path, masks: str | Path, **data: object) -> CheckReport:
        """Check a data set for problems.

        Args:
            images: Folder of images.
            masks: Folder of masks, paired with the images by file stem.
            data: Other fields of the recipe's data section.

        Raises:
            InputError: The images and masks cannot be paired, or a field of ``data`` is invalid.
        """
        from maskwright.training.prepare import check_data
        from maskwright.training.recipe import Recipe

        recipe = Recipe.from_dict({"data": {"images": images, "masks": masks, **data}}, source="arguments")
        return check_data(recipe.data)[0]

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> Segmenter:
        """Open a run, an ensemble or an exported engine; an exported engine does not need Keras.

        Args:
            folder: Folder of a run, an ensemble or an exported engine.
            device: Device for prediction, such as ``"cpu"``, ``"gpu"`` or ``"gpu:1"``. If absent, Keras and TensorFlow
                choose the device, and other runtimes use the CPU.

        Raises:
            WrongArgument: ``device`` is not the name of a device.
            MissingDevice: The framework or the runtime cannot compute on the device. The members of an ensemble are
                opened, and raise this error, during prediction.
            NotARun, UnreadableBundle, UnreadableNetwork, UnreadableEngine: The folder contains no usable network.
            MissingPackage: The framework or runtime of the network is not installed.
        """
        segmenter = cls(Path(folder), device=device)
        segmenter.engine  # noqa: B018 - errors are raised here
        return segmenter

    def predict(self, image: ImageInput) -> NDArray[np.integer]:
        """Predict the mask (h, w) for an image of any size, with the values of the training masks.

        Args:
            image: Path of an image file, or an array of pixels (h, w) or (h, w, c) of the same dtype as the training
                images.

        Raises:
            ImageFault: The image file cannot be read.
            WrongPixels, WrongChannels: The dtype or the number of channels of the image differs from that of the
                training images.
        """
        pixels, name = _pixels(image)
        return self.engine.bundle.values(predict_indices(self.engine, pixels, file=name))

    def predict_probabilities(self, image: ImageInput) -> NDArray[np.float32]:
        """Predict the probabilities (h, w, classes), in [0, 1], for an image of any size.

        With a single class, the probabilities have one channel. The arguments and the exceptions are the same as those
        of `predict`.
        """
        pixels, name = _pixels(image)
        return predict_probabilities(self.engine, pixels, file=name)

    def predict_files(
        self,
        inputs: Iterable[str | Path],
        out: str | Path,
        *,
        output: OutputKind = "ids",
        overlay: bool = False,
        margin: int | None = None,
        overwrite: bool = False,
        done: Callable[[int, int, FileResult], None] = lambda number, total, result: None,
    ) -> list[FileResult]:
        """Predict masks for image files, folders and glob patterns, and write the masks to the folder ``out``.

        The arguments are described in `maskwright.inference.predict_folder.predict_files`.
        """
        digest = predictor_digest(self.folder)
        job = PredictionJob(self.engine, digest, output=output, overlay=overlay, margin=margin)
        return predict_files(job, inputs, Path(out), overwrite=overwrite, done=done)

    def predict_large(
        self,
        image: str | Path,
        out: str | Path,
        *,
        output: OutputKind = "ids",
        margin: int | None = None,
        polygons: str | Path | None = None,
        overwrite: bool = False,
        cluster: Cluster | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        report: Callable[[str], None] = lambda line: None,
    ) -> LargePredictionResult:
        """Predict the mask for an image of any size in overlapping windows, and write it to a TIFF or Zarr file.

        An interrupted prediction is resumed by repeating the call. The exceptions are the same as those of
        `maskwright.inference.large.predict_large.predict_large`.

        Args:
            image: Path of the image: TIFF, GeoTIFF, Zarr, NumPy ``.npy`` or any other supported format.
            out: Path of the file or folder to write, with the suffix .tif, .tiff or .zarr.
            output: ``"ids"`` for mask values, or ``"probabilities"`` for one float32 band per class.
            margin: Width in pixels of the margin added to each side of a window. If absent, the margin is measured on
                the image.
            polygons: GeoJSON file to which the outlines of the classes are written.
            overwrite: Whether to replace the result of another image, engine or setting.
            cluster: Dask workers that predict masks for the windows, see `maskwright.inference.large.dask_cluster`. If
                absent, the masks are predicted in this process.
            progress: Function called with the number of finished blocks and the total.
            report: Function called with each message (str) for the user.
        """
        from maskwright.inference.large.predict_large import LargePredictionJob, predict_large

        if isinstance(self.engine, Ensemble):
            raise EnsembleByWindows(folder=self.folder)
        outlines = None if polygons is None else Path(polygons)
        digest = predictor_digest(self.folder)
        job = LargePredictionJob(self.engine, digest, Path(image), output=output, margin=margin, polygons=outlines)
        distribute = None if cluster is None else partial(cluster.blocks, self.folder, job.image, device=self._device)
        return predict_large(job, out, overwrite=overwrite, distribute=distribute, progress=progress, report=report)

    def evaluate(
        self,
        images: str | Path,
        masks: str | Path,
        *,
        mask_suffix: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Score the predicted masks for a folder of images against the ground truth masks.

        The ground truth masks must have the same values as the training masks.

        Args:
            images: Folder of images.
            masks: Folder of masks, paired with the images by file stem.
            mask_suffix: Suffix that mask file names have after the stem of the image's file name. If absent, the suffix
                of the training masks is used.
            progress: Function called after each image with the number of finished images and the total.

        Raises:
            InputError: The images and masks cannot be paired, or a file is unreadable or invalid.
        """
        from maskwright.data.mask_values import parse_mask_values
        from maskwright.data.pairs import pair_folders
        from maskwright.training.evaluate import evaluate_pairs

        meanings, suffix = _training_masks(self.folder, self.engine.bundle)
        values: MaskValues = parse_mask_values(meanings)
        pairing = pair_folders(images, masks, mask_suffix=suffix if mask_suffix is None else mask_suffix)
        finished = 0

        def count(*_: object) -> None:
            nonlocal finished
            finished += 1
            if progress is not None:
                progress(finished, len(pairing.pairs))

        evaluation = evaluate_pairs(self.engine, pairing.pairs, mask_values=values, on_pair=count)
        return replace(evaluation, left_out=(*pairing.unpaired_images, *pairing.unpaired_masks))

    def export(
        self,
        out: str | Path,
        *,
        to: Runtime = "openvino",
        precision: EnginePrecision = "f32",
        rewrite: bool = True,
        overwrite: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Segmenter:
        """Export the run to an inference engine in the folder ``out``, and open the engine.

        The arguments are described in `maskwright.export.export.export_run`.
        """
        from maskwright.export.export import export_run

        export_run(
            self.folder, out, to=to, precision=precision, rewrite=rewrite, overwrite=overwrite, progress=progress
        )
        return type(self).load(out)


def _training_masks(folder: Path, bundle: Bundle) -> tuple[Mapping[Any, str], str]:
    """Return the meaning of each value in the training masks, and the suffix of the mask file stems."""
    from maskwright.training.run import Run

    if is_ensemble(folder):
        folder = read_ensemble(folder).members[0]
    if is_exported(folder):
        record = EngineRecord.read(folder)
        return record.mask_values, record.mask_suffix
    if run := Run.holding(folder):
        data = run.read_recipe().data
        return data.mask_values or {}, data.mask_suffix
    return {label.value: label.name for label in bundle.labels}, ""  # the network was converted from another format


def _pixels(image: ImageInput) -> tuple[NDArray[np.generic], str]:
    """Return the pixels (h, w, c) of an image, and the name of the image for error messages."""
    if not isinstance(image, np.ndarray):
        return read_image(image), str(image)
    if image.ndim not in (2, 3) or not image.size:
        raise wrong_argument("image", f"an array of shape {image.shape}", expected="(h, w) or (h, w, c), not empty")
    return (image[..., None] if image.ndim == 2 else image), "image"
