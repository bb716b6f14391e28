"""A model of one's own: any flax module that looks at one example at a time."""

from typing import Annotated

import flax.linen as nn

from fedpareto.components.rules import Rule


class Net(nn.Module):
    """One hidden layer, normalised.

    Attributes:
      outputs: Number of outputs, which the task fills in.
      width: Units of the hidden layer.
    """

    outputs: int
    width: Annotated[int, Rule(minimum=1)] = 16

    @nn.compact
    def __call__(self, x):
        """Outputs float32 [batch, outputs] of examples [batch, ...]."""
        x = nn.relu(nn.Dense(self.width)(x.reshape(len(x), -1)))
        return nn.Dense(self.outputs)(nn.LayerNorm()(x))
