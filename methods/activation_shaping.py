"""Activation shaping: trained on binary activations, some of them put out by chance, a network leans less on style.

Jingming Li, Hassan Soueidan, Mohammad Al Najjar: Activation Shaping for Domain Adaptation, report, 2024; the idea
of shaping after Djurisic et al., ASH, ICLR 2023, arXiv:2209.09858.

    min CE(f(x_s), y_s)     where the output A of chosen layers becomes 1[A > 0] * 1[M > 0],  M: 0 at mask_rate

Shaped is every `every`-th layer of the kind `after`. When the model answers, nothing is put out;
the maps stay binary, since weights and batch-norm statistics learned on binary maps answer at random on others (the
authors' code leaves its hooks on too); with binary_answers=False they do not. The gradient of a binary map is 0, so
that what lies before a shaped layer learns by the paths around it alone (the report's network, a ResNet, has them
everywhere). SGD as in the authors' code. Departs from it in starting from the source-trained model, as every method
here does.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, Reach, between, one_of, register
from dabench.nn import answer_in_binary, hooked, layers_of


@register(needs=Needs.SOURCE, paper="Li et al., report, 2024", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class ActivationShaping:
    lr: float = between(0.01, 1e-6, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    after: str = one_of("conv", "batchnorm", "activation")
    every: int = between(3, 1, 1000)
    mask_rate: float = between(0.2, 0.0, 1.0)
    binary_answers: bool = one_of(True, False)

    def adapt(self, model, target_data):
        layers = layers_of(model.backbone, self.after)
        layers = layers[self.every - 1 :: self.every] or layers[-1:]
        if self.binary_answers:
            answer_in_binary(layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            with hooked(layers, self.shape):
                logits = model(batch.source_images)
            batch.minimise(cross_entropy(logits, batch.source_labels), optimizer)
        return model

    def shape(self, layer, inputs, output):
        """The binary map of the output, a share `mask_rate` of it put out."""
        return (output > 0) * torch.empty_like(output).bernoulli_(1 - self.mask_rate)
