"""The friendly object: trained from folders, or opened from a run or an engine, it predicts, evaluates and exports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.images.read import read_image
from maskwright.inference.engines.record import EngineRecord, is_exported
from maskwright.inference.ensemble import Ensemble, EnsembleByWindows, is_ensemble, read_ensemble
from maskwright.inference.load_predictor import Predictor, predictor_digest, load_predictor
from maskwright.inference.predict_folder import PredictionJob, Output, FileResult, predict_files
from maskwright.inference.predict_image import predict_indices, predict_probabilities

if TYPE_CHECKING:  # training loads Keras, which predicting may not need
    import keras

    from maskwright.data.check import Report
    from maskwright.data.mask_values import MaskValues
    from maskwright.inference.bundle import Bundle
    from maskwright.inference.engines.record import Runtime, EnginePrecision
    from maskwright.inference.large.dask_cluster import Cluster
    from maskwright.inference.large.predict_large import LargePredictionResult
    from maskwright.training.custom import Own
    from maskwright.training.evaluate import Evaluation
    from maskwright.training.prepare import Check
    from maskwright.training.recipe import Recipe
    from maskwright.training.reporter import Narrator

Picture = str | Path | NDArray[np.generic]


@final
class Segmenter:
    """A trained network with all it takes to use it. Made by `train` or `load`."""

    def __init__(self, engine: Predictor, folder: Path) -> None:
        self.engine = engine
        self.folder = folder

    @classmethod
    def train(
        cls,
        images: str | Path,
        masks: str | Path,
        *,
        out: str | Path,
        val_images: str | Path | None = None,
        val_masks: str | Path | None = None,
        classes: int | Sequence[str] | None = None,
        ignore: int | str | None = None,
        mask_values: Mapping[int | str, str] | None = None,
        mask_suffix: str | None = None,
        time_budget: str | float | None = None,
        epochs: int | None = None,
        recipe: Mapping[str, Mapping[str, object]] | None = None,
        augmentation: Callable[..., Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        network: Callable[[int, int, str], keras.Model] | None = None,
        callback: Callable[[Mapping[str, Any]], None] | None = None,
        overwrite: bool = False,
        narrator: Narrator | None = None,
    ) -> Segmenter:
        """Train on a folder of images and a folder of masks, into the run ``out``, and open what came of it.

        Args:
            images: Folder of images.
            masks: Folder of masks, named as their images.
            out: The run's folder, new or empty.
            val_images: Folder of validation images; a fifth of the pairs is held out if absent.
            val_masks: Folder of their masks.
            classes: Number of classes or their names, in order of mask value; found from the masks if absent.
            ignore: Mask value of pixels that do not count.
            mask_values: What each value means, a class name, ``background`` or ``ignored``; in place of both.
            time_budget: Seconds, or a text such as ``"20m"``.
            epochs: Passes over the training pixels, in place of ``time_budget``.
            recipe: Any other field of the recipe, by section: ``{"training": {"batch_size": 4}}``.
            augmentation: ``callable(image=..., mask=...)`` in place of the recipe's, see `CallableAugmentation`.
            loss: ``loss(y_true, y_pred)`` in place of the recipe's: a scalar, of label indices (n, h, w), 255 where
                ignored, and probabilities (n, h, w, classes).
            network: ``network(channels, classes, activation)`` in place of the recipe's: a functional Keras model of
                Keras' own layers, for images of any size that 32 divides.
            callback: Called with each line of the history, a mapping from column to number.
            overwrite: Replace a run that is there already.
            narrator: What is told of the progress; nothing if absent.

        Raises:
            InputError: The folders, the recipe or ``out`` cannot be used.
        """
        from maskwright.training.custom import Own
        from maskwright.training.recipe import Recipe
        from maskwright.training.recipe_fields import recipe_fields

        fields = recipe_fields(
            images=images,
            masks=masks,
            val_images=val_images,
            val_masks=val_masks,
            classes=classes,
            ignore=ignore,
            mask_values=mask_values,
            mask_suffix=mask_suffix,
            time_budget=time_budget,
            epochs=epochs,
            recipe=recipe,
        )
        complete = Recipe.from_dict(fields)
        own = Own(augmentation=augmentation, loss=loss, network=network, callback=callback)
        return cls.train_recipe(complete, out, overwrite=overwrite, own=own, narrator=narrator)

    @classmethod
    def train_recipe(
        cls,
        recipe: Recipe | None,
        out: str | Path,
        *,
        overwrite: bool = False,
        own: Own | None = None,
        narrator: Narrator | None = None,
        started: float | None = None,
        check: Check | None = None,
    ) -> Segmenter:
        """Train as ``recipe`` says, or, where it is None, go on with the interrupted run in ``out``; then report.

        Arguments and errors are those of `maskwright.training.train.train`.
        """
        from maskwright.training.custom import NOTHING
        from maskwright.training.prepare import check_data
        from maskwright.training.train import resume, train

        for needed in ("jinja2", "matplotlib"):  # for the report, which takes a while to load and is loaded at the end
            if find_spec(needed) is None:
                raise ModuleNotFoundError(f"No module named {needed!r}", name=needed)
        own = own or NOTHING
        if recipe is None:
            run = resume(out, own=own, narrator=narrator, started=started)
        else:
            run = train(
                recipe,
                out,
                overwrite=overwrite,
                own=own,
                narrator=narrator,
                started=started,
                check=check or check_data,
            )
        from maskwright.report.page import write_report

        write_report(run.folder)
        return cls.load(run.folder)

    @classmethod
    def resume(
        cls,
        out: str | Path,
        *,
        augmentation: Callable[..., Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        network: Callable[[int, int, str], keras.Model] | None = None,
        callback: Callable[[Mapping[str, Any]], None] | None = None,
        narrator: Narrator | None = None,
    ) -> Segmenter:
        """Go on with the interrupted run in ``out``, by its own recipe, and open what came of it.

        Raises:
            NothingToResume: There is no run, or it is complete.
            OtherRecipe: The run was started with other functions than these.
        """
        from maskwright.training.custom import Own

        own = Own(augmentation=augmentation, loss=loss, network=network, callback=callback)
        return cls.train_recipe(None, out, own=own, narrator=narrator)

    @staticmethod
    def check(images: str | Path, masks: str | Path, **data: object) -> Report:
        """Everything that would spoil a training on these folders; ``data`` are fields of the recipe's data section.

        Raises:
            InputError: The folders cannot be paired, or a field is wrong.
        """
        from maskwright.training.prepare import check_data
        from maskwright.training.recipe import Recipe

        recipe = Recipe.from_dict({"data": {"images": images, "masks": masks, **data}}, source="arguments")
        return check_data(recipe.data)[0]

    @classmethod
    def load(cls, folder: str | Path) -> Segmenter:
        """Open a run, or an engine that was exported from one, which takes neither Keras nor a training framework.

        Raises:
            NotARun, UnreadableBundle, UnreadableNetwork, UnreadableEngine: The folder cannot be used.
            MissingPackage: What computes the network is not installed.
        """
        return cls(load_predictor(folder), Path(folder))

    def predict(self, image: Picture) -> NDArray[np.integer]:
        """The mask of an image of any size: (h, w), in the values the training masks had.

        Args:
            image: A file, or pixels (h, w) or (h, w, c) of the training images' dtype.

        Raises:
            ImageFault: The file cannot be read.
            WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
        """
        pixels, name = _pixels(image)
        return self.engine.bundle.values(predict_indices(self.engine, pixels, file=name))

    def predict_probabilities(self, image: Picture) -> NDArray[np.float32]:
        """Probabilities in [0, 1] of an image of any size, (h, w, classes); one channel where there is one class.

        Raises as `predict` does.
        """
        pixels, name = _pixels(image)
        return predict_probabilities(self.engine, pixels, file=name)

    def predict_files(
        self,
        inputs: Iterable[str | Path],
        out: str | Path,
        *,
        output: Output = "ids",
        overlay: bool = False,
        overwrite: bool = False,
        done: Callable[[int, int, FileResult], None] = lambda number, total, result: None,
    ) -> list[FileResult]:
        """Predict files, folders and globs into ``out``; see `maskwright.inference.predict_folder.predict_files`."""
        job = PredictionJob(self.engine, predictor_digest(self.folder), output=output, overlay=overlay)
        return predict_files(job, inputs, Path(out), overwrite=overwrite, done=done)

    def predict_large(
        self,
        image: str | Path,
        out: str | Path,
        *,
        output: Output = "ids",
        margin: int | None = None,
        polygons: str | Path | None = None,
        overwrite: bool = False,
        cluster: Cluster | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> LargePredictionResult:
        """Predict an image larger than memory, by windows, into the TIFF or Zarr ``out``; interrupted, it goes on.

        Args:
            image: TIFF, GeoTIFF, Zarr, NumPy ``.npy``, or any other image.
            out: A name in .tif, .tiff or .zarr.
            output: ``"ids"`` for mask values, ``"probabilities"`` for a float32 band a class.
            margin: Pixels a window sees beyond those it keeps; measured on the image if absent.
            polygons: A GeoJSON file for the outlines of the classes.
            overwrite: Replace a result of another image, engine or setting.
            cluster: Dask workers (`maskwright.inference.large.dask_cluster`); this process if absent.
            progress: Called with the blocks done and all blocks.
            say: Called with lines for the user.

        Raises as `maskwright.inference.large.predict_large.predict_large` does.
        """
        from maskwright.inference.large.predict_large import LargePredictionJob, predict_large

        if isinstance(self.engine, Ensemble):
            raise EnsembleByWindows(folder=self.folder)
        goal = None if polygons is None else Path(polygons)
        digest = predictor_digest(self.folder)
        job = LargePredictionJob(self.engine, digest, Path(image), output=output, margin=margin, polygons=goal)
        spread = None if cluster is None else partial(cluster.spread, self.folder, job.image)
        return predict_large(job, out, overwrite=overwrite, spread=spread, progress=progress, say=say)

    def evaluate(
        self,
        images: str | Path,
        masks: str | Path,
        *,
        mask_suffix: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Predict every image of a folder and score it against its mask, whose values mean what they meant in training.

        Args:
            images: Folder of images.
            masks: Folder of masks, named as their images.
            mask_suffix: What mask stems carry beyond the image's; as in training if absent.
            progress: Called with the images done and all images, after each one.

        Raises:
            InputError: The folders cannot be paired, or a file cannot be read or used.
        """
        from maskwright.data.mask_values import parse_mask_values
        from maskwright.data.pairs import pair_folders
        from maskwright.training.evaluate import evaluate_pairs

        words, suffix = _training_masks(self.folder, self.engine.bundle)
        values: MaskValues = parse_mask_values(words)
        pairing = pair_folders(images, masks, mask_suffix=suffix if mask_suffix is None else mask_suffix)
        finished = 0

        def count(*_: object) -> None:
            nonlocal finished
            finished += 1
            if progress is not None:
                progress(finished, len(pairing.pairs))

        evaluation = evaluate_pairs(self.engine, pairing.pairs, mask_values=values, seen=count)
        return replace(evaluation, left_out=(*pairing.images_alone, *pairing.masks_alone))

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
        """Make an engine of this run in the folder ``out``, and open it; arguments and errors are `export_run`'s."""
        from maskwright.export.export import export_run

        export_run(
            self.folder, out, to=to, precision=precision, rewrite=rewrite, overwrite=overwrite, progress=progress
        )
        return type(self).load(out)


def _training_masks(folder: Path, bundle: Bundle) -> tuple[Mapping[Any, str], str]:
    """What the values of the training masks meant, and what their stems carried beyond the images'."""
    from maskwright.training.run import Run

    if is_ensemble(folder):
        folder = read_ensemble(folder).members[0]
    if is_exported(folder):
        exported = EngineRecord.read(folder)
        return exported.mask_values, exported.mask_suffix
    if run := Run.holding(folder):
        data = run.read_recipe().data
        return data.mask_values or {}, data.mask_suffix
    return {label.value: label.name for label in bundle.labels}, ""  # converted, not trained here


def _pixels(image: Picture) -> tuple[NDArray[np.generic], str]:
    """Pixels (h, w, c), and what to call them in an error."""
    if not isinstance(image, np.ndarray):
        return read_image(image), str(image)
    if image.ndim not in (2, 3) or not image.size:
        raise wrong_argument("image", f"an array of shape {image.shape}", expected="(h, w) or (h, w, c), not empty")
    return (image[..., None] if image.ndim == 2 else image), "image"
