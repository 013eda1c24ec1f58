"""The loss of each step, and whether XLA compiles it."""

import pytest

import maskwright.training.training_steps as training_steps
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.training_steps import TrainingSteps
from tests.inference.fake_engines import bundle
from tests.training.rig import network


@pytest.fixture
def made(monkeypatch):
    """Record the first word of the loss's name and ``fuse_loss`` of each step that is made."""
    made = []

    def make_train_step(network, *, fuse_loss):
        name = network.loss if isinstance(network.loss, str) else network.loss.get_config()["name"]
        made.append((name.partition("_")[0], fuse_loss))
        return lambda images, targets: 0.0

    monkeypatch.setattr(training_steps, "make_train_step", make_train_step)
    return made


@pytest.mark.parametrize(
    ("recipe", "fuse"),
    [
        ({"loss": {"cross_entropy": 1, "dice": 1}}, True),
        ({"loss": {"lovasz": 1}}, False),
        ({"loss": {"cross_entropy": 1, "lovasz": 1}}, False),
        ({"loss": {"cross_entropy": 1}, "custom_loss": "mine"}, False),
    ],
)
def test_only_losses_of_the_catalogue_that_do_not_sort_are_fused(made, recipe, fuse):
    TrainingSteps(network(), TrainingRecipe(**recipe), bundle())
    assert [fused for _, fused in made] == [fuse]


@pytest.mark.parametrize(("loss", "final"), [("dice", "lovasz"), ("lovasz", "dice")])
def test_each_change_of_the_loss_decides_whether_it_is_fused(made, loss, final):
    recipe = TrainingRecipe(loss={loss: 1}, final_loss={"loss": {final: 1}, "start": 0.7})
    steps = TrainingSteps(network(), recipe, bundle())
    progress = (0.0, 0.69, 0.7, 0.9, 0.6, 0.7)
    assert [steps.select_loss(each) for each in progress] == [False, False, True, False, False, True]
    assert [fused for _, fused in made] == [name == "dice" for name in (loss, final, loss, final)]
    assert [name for name, _ in made[1:]] == [final, loss, final]


def test_a_custom_loss_is_not_replaced(made):
    recipe = TrainingRecipe(custom_loss="mine", final_loss={"loss": {"dice": 1}, "start": 0.5})
    assert not TrainingSteps(network(), recipe, bundle()).select_loss(0.9)
    assert len(made) == 1
