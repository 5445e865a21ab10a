"""LP-FT: a linear probe first, then fine-tuning of everything at a lower rate, so that good features stay.

Ananya Kumar, Aditi Raghunathan, Robbie Jones, Tengyu Ma, Percy Liang: Fine-Tuning can Distort Pretrained Features
and Underperform Out-of-Distribution, ICLR 2022, arXiv:2202.10054.

    min over the head of  CE(f(x_t), y_t)   while p < probe_share;     then min over all weights of the same

While the head alone learns, the backbone is frozen and its batch-norm statistics too; afterwards batch norm learns
the target's. The head starts from the source's, whose classes are the target's, or from chance (`fresh_head`) as in
warm start on new classes. The best checkpoint by the labelled target validation images. Departs from the paper
in using Adam throughout.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, one_of, register
from dabench.nn import freeze, unfreeze


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="Kumar et al., ICLR 2022")
@dataclass(frozen=True, kw_only=True)
class LPFT:
    probe_lr: float = between(1e-3, 1e-6, 1.0, log=True)
    lr: float = between(3e-4, 1e-6, 1.0, log=True)
    probe_share: float = between(0.5, 0.0, 1.0)
    fresh_head: bool = one_of(False, True)

    def adapt(self, model, target_data):
        if self.fresh_head:
            model.head.reset_parameters()
        freeze(model.backbone)
        optimizer, probing = torch.optim.Adam(model.head.parameters(), lr=self.probe_lr), True
        for batch in target_data.batches(model):
            if probing and batch.progress >= self.probe_share:
                unfreeze(model.backbone)
                optimizer, probing = torch.optim.Adam(model.parameters(), lr=self.lr), False
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)
