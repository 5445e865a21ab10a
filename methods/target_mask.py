"""Activation shaping by the target: trained on binary activations, put out where a target image's are.

Jingming Li, Hassan Soueidan, Mohammad Al Najjar: Activation Shaping for Domain Adaptation, report, 2024; the idea
of shaping after Djurisic et al., ASH, ICLR 2023, arXiv:2209.09858.

    min CE(f(x_s), y_s)     where the output A of chosen layers becomes 1[A > 0] * 1[M > 0],  M: its output for x_t

`activation_shaping` with another mask: each source image is paired with a target image, which passes first, without
gradient, its maps binary and nothing put out, in training mode, so that the batch norms' statistics are of both
domains. Shaped are the first and then every `every`-th layer of the kind `after`. When the model answers, nothing is
put out; the maps stay binary, with binary_answers=False they do not. The gradient of a binary map is 0, so that what
lies before a shaped layer learns by the paths around it alone.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, Reach, between, one_of, register
from dabench.nn import answer_in_binary, hooked, layers_of


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Li et al., report, 2024", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class TargetMask:
    lr: float = between(0.01, 1e-6, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    after: str = one_of("conv", "batchnorm", "activation")
    every: int = between(3, 1, 1000)
    binary_answers: bool = one_of(True, False)

    def adapt(self, model, target_data):
        layers = layers_of(model.backbone, self.after)
        layers = layers[self.every - 1 :: self.every] or layers[-1:]
        if self.binary_answers:
            answer_in_binary(layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        masks = []  # in the order in which the layers answer, which both passes share
        for batch in target_data.batches(model):
            with hooked(layers, lambda layer, inputs, output: self.record(output, masks)), torch.no_grad():
                model(batch.target_images)
            with hooked(layers, lambda layer, inputs, output: self.shape(output, masks)):
                logits = model(batch.source_images)
            batch.minimise(cross_entropy(logits, batch.source_labels), optimizer)
        return model

    def record(self, output, masks):
        """The binary map of a target image, which is kept as the mask."""
        masks.append(output > 0)
        return masks[-1].to(output)

    def shape(self, output, masks):
        """The binary map of a source image, put out where the target image's is."""
        return ((output > 0) & masks.pop(0)).to(output)
