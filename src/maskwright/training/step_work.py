"""Numbers of operations in a training step, by kinds whose times are proportional to their numbers."""

from typing import Annotated, NamedTuple

from pydantic import Field

from maskwright.inference.json_record import JsonRecord

Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class StepWork(NamedTuple):
    """Numbers of operations in one training step, or the seconds that one operation of each kind takes."""

    layers: float = 0.0
    """Layers."""
    parameters: float = 0.0
    """Parameters, which the optimizer updates."""
    convolution: float = 0.0
    """Multiply-adds of the forward pass in convolutions with kernels larger than 1 x 1."""
    pointwise: float = 0.0
    """Multiply-adds of the forward pass in 1 x 1 convolutions and dense layers."""
    depthwise: float = 0.0
    """Multiply-adds of the forward pass in depthwise convolutions."""
    convolved: float = 0.0
    """Input and output values of convolutions."""
    values: float = 0.0
    """Output values of all other layers, and input and output values of depthwise convolutions."""
    orthogonalised: float = 0.0
    """Multiply-adds of the optimizer Muon."""

    def __add__(self, other: object) -> "StepWork":
        if not isinstance(other, StepWork):
            return NotImplemented
        return StepWork(*(a + b for a, b in zip(self, other, strict=True)))

    def seconds(self, rates: "StepWork") -> float:
        """Return the time of this work in seconds, given the seconds that one operation of each kind takes."""
        return sum(number * rate for number, rate in zip(self, rates, strict=True))


class StepRates(JsonRecord):
    """Seconds that one operation of each kind takes, see `StepWork`, and that tracing one layer takes."""

    layers: Rate
    parameters: Rate
    convolution: Rate
    pointwise: Rate
    depthwise: Rate
    convolved: Rate
    values: Rate
    orthogonalised: Rate
    tracing: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @property
    def of_work(self) -> StepWork:
        """Seconds that one operation of each kind takes."""
        return StepWork(**self.model_dump(exclude={"tracing"}))

    def step_seconds(self, work: StepWork) -> float:
        """Return the time of a training step, in seconds."""
        return work.seconds(self.of_work)
