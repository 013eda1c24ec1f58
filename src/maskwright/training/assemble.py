"""Build the networks and the patches for training from the prepared data and the recipe."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras

from maskwright.data.augment import Augmentation, GeometricAugmentation, PhotometricAugmentation
from maskwright.data.check import CheckReport
from maskwright.data.patches import PairReader, Patches
from maskwright.framework import no_gc
from maskwright.inference.predict_image import padded_size
from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.adapt_network import copy_weights, network_from
from maskwright.training.candidates import REFERENCE_RATES
from maskwright.training.cost import estimate_cost
from maskwright.training.custom import CustomParts
from maskwright.training.forecast import forecast_steps
from maskwright.training.network import (
    build_network,
    compile_for_training,
    encoder_layers,
    with_encoder_normalisation,
)
from maskwright.training.planning_rules import patch_for
from maskwright.training.precision import choose_precision, dtype_policy
from maskwright.training.prepare import DataCheck, Prepared, ScanProgress, check_data, prepare
from maskwright.training.pretrained import with_encoder_weights
from maskwright.training.recipe import NO_WEIGHTS, AugmentationRecipe, Recipe
from maskwright.training.reporter import Plan
from maskwright.training.run import Run
from maskwright.training.setup import Networks, ValidationSet
from maskwright.training.start_from import read_start, with_start
from maskwright.training.step_work import StepRates


def prepare_data(
    recipe: Recipe,
    *,
    rates: Callable[[], StepRates | None] = lambda: None,
    progress: ScanProgress | None = None,
    check: DataCheck = check_data,
    download: bool = True,
) -> tuple[Prepared, CheckReport]:
    """Choose the initial weights, and prepare the data, with the normalisation that belongs to the weights.

    ``rates`` is a function that returns the speed of this machine. It is called after the data has been read, so that
    reading does not disturb a measurement. If it returns None, the plan is the same as for a computer with two cores.
    The other arguments and the exceptions are those of `prepare`, `read_start` and `with_encoder_weights`.
    """
    given = recipe.data
    recipe, start = read_start(recipe)
    # Of the fields that `read_start` completes, only the channels affect the check, which may already have begun.
    checked = check(given.model_copy(update={"channels": recipe.data.channels}), progress=progress)
    speed = rates() or REFERENCE_RATES
    chosen = with_encoder_weights(recipe, rates=speed, download=download)
    prepared, report = prepare(chosen.recipe, checked, rates=speed, pretrained_backbone=chosen.backbone)
    prepared = replace(prepared, decisions=(chosen.decision, *prepared.decisions))
    if start is not None:
        prepared = with_start(prepared, start)
    if prepared.recipe.data.normalisation == "encoder":
        prepared = replace(prepared, bundle=with_encoder_normalisation(prepared.recipe.network, prepared.bundle))
    return prepared, report


@no_gc()
def build_networks(prepared: Prepared, custom: CustomParts, *, pretrained: bool = True) -> Networks:
    """Build and compile the network in training.

    Args:
        prepared: Prepared data and recipe.
        custom: Functions that replace parts of the recipe.
        pretrained: Whether to load pretrained encoder weights if the recipe names them.

    Raises:
        UnknownChoice: The recipe names a backbone, a decoder block or a loss that does not exist.
        WrongNetwork: The custom network does not fit the data.
        UnsupportedNetwork: The network from which training starts differs from the one of the recipe.
        InputError: The pretrained weights of the encoder cannot be downloaded or read.
    """
    training, network, bundle = prepared.recipe.training, prepared.recipe.network, prepared.bundle
    if not pretrained:
        network = network.model_copy(update={"encoder_weights": NO_WEIGHTS})
    keras.utils.set_random_seed(training.seed)
    precision = choose_precision(training.precision)
    if custom.network is not None:
        with dtype_policy(precision):
            built = custom.build_network(bundle)
        build_inference_model = partial(custom.build_network, bundle)
    elif network.start_file is not None and prepared.start is not None:
        # The head is initialised once, so both networks have the same weights.
        start = replace(prepared.start, network=network_from(prepared.start, bundle), bundle=bundle)
        built = network_from(start, bundle, precision=precision)
        build_inference_model = partial(network_from, start, bundle)
    else:
        built = build_network(network, bundle, precision=precision, training=True)
        if prepared.start is not None:
            copy_weights(prepared.start, built, bundle)
        build_inference_model = partial(build_network, network, bundle)
    rewritten = rewrite_for_training(built)
    # Names of layers are only searched for if the optimizer treats the encoder differently.
    given = prepared.recipe.network
    is_pretrained = given.pretrained is not None or given.start_from is not None  # also if a checkpoint has the weights
    is_different = is_pretrained or training.encoder_lr_multiplier < 1 or training.freeze_encoder_until > 0
    is_of_recipe = custom.network is None and network.start_file is None
    encoder = encoder_layers(network, bundle) if is_different and is_of_recipe else ()
    compile_for_training(
        rewritten, training, bundle, encoder=encoder, pretrained=is_pretrained, loss=custom.loss_object()
    )
    return Networks(
        training=rewritten,
        build_inference_model=build_inference_model,
        layer_order=[layer.name for layer in mask_only(built).layers],
        precision=precision,
    )


def build_patches(prepared: Prepared, custom: CustomParts) -> Patches:
    """Build the batches of training patches, with the augmentation of the recipe or a custom augmentation."""
    training, bundle = prepared.recipe.training, prepared.bundle
    geometry, augmentation = _augmentations(prepared.recipe.augmentation, custom)
    reader = PairReader(
        prepared.train,
        channels=bundle.channels,
        mask_values=prepared.mask_values,
        cache_bytes=prepared.cache_bytes,
    )
    return Patches(
        reader,
        sizes=prepared.train_sizes,
        patch_size=training.patch_size or patch_for(prepared.train_sizes),
        batch_size=training.batch_size,
        seed=training.seed,
        normalisation=bundle.normalisation,
        augmentation=augmentation,
        geometry=geometry,
        foreground_oversampling=training.foreground_oversampling,
        scale=bundle.scale,
        coord_channels=bundle.coord_channels,
    )


def validation_set(prepared: Prepared) -> ValidationSet:
    """Return the validation pairs and the sizes of their images after resizing and padding."""
    sizes = [padded_size(prepared.bundle, size) for size in prepared.validation_sizes]
    return ValidationSet(prepared.validation, sizes, prepared.mask_values)


def plan_of(
    run: Run,
    prepared: Prepared,
    networks: Networks,
    patches: Patches,
    report: CheckReport | None,
    *,
    seconds: float,
    rates: StepRates | None,
    tuning_passes: float | None,
    warnings_file: Path | None,
) -> Plan:
    """Return the settings of a training run and its expected cost on this machine.

    Args:
        run: Run to describe, which need not exist yet.
        prepared: Prepared data and recipe.
        networks: Networks used in training.
        patches: Batches of training patches.
        report: Result of the data check; None for a resumed run.
        seconds: Time since the run began, in seconds.
        rates: Seconds that operations take on this machine; None if they are not known.
        tuning_passes: Cost of the additional predictions for tuning; None without tuning.
        warnings_file: File that lists the warnings of ``report``; None if no such file was written.
    """
    training = prepared.recipe.training
    cost = estimate_cost(networks.training, training, patches, rates=rates, cache_bytes=prepared.cache_bytes)
    if training.epochs is not None:
        steps = training.epochs * patches.steps_per_epoch
    elif cost.times is not None and training.time_budget is not None:
        steps = forecast_steps(
            cost.times,
            seconds=training.time_budget - seconds,
            validation_pixels=sum(map(math.prod, validation_set(prepared).sizes)),
            is_float32=networks.precision == "float32",
            tuning_passes=tuning_passes,
        )
    else:
        steps = None
    return Plan(prepared, report, cost, precision=networks.precision, steps=steps, run=run, warnings_file=warnings_file)


def _augmentations(recipe: AugmentationRecipe, custom: CustomParts) -> tuple[GeometricAugmentation, Augmentation]:
    """Return the geometric and the photometric augmentation of the recipe; a custom augmentation replaces both."""
    augmentation = custom.batch_augmentation()
    if augmentation is not None:
        return GeometricAugmentation(), augmentation
    geometry = GeometricAugmentation(flip=recipe.flip, zoom=recipe.zoom, rotation=recipe.rotation)
    return geometry, PhotometricAugmentation(brightness=recipe.brightness, contrast=recipe.contrast)
