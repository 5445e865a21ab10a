"""T3A: each class is where its classifier row and the surest test features of it lie; no gradient.

Yusuke Iwasawa, Yutaka Matsuo: Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization,
NeurIPS 2021.

    logits  =  z C,  C_k = sum of s / |s| over the supports of class k, normalised
    supports of k: row k of the classifier, and features z predicted as k; of them the `supports` of lowest entropy

The features of a batch count before it is answered. Batch norm keeps the source's statistics. The bias of the
classifier decides which class a feature supports, and not the answer. ALL (-1) keeps every support; the authors' code
then loses one of each class. Departs from that code in row k being of class k, as in the paper, even where the
classifier itself would call it another.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import normalize

from dabench.core import ALL, Needs, NotApplicable, one_of, register
from dabench.nn import entropy, freeze


@register(needs=Needs.TEST_STREAM, paper="Iwasawa & Matsuo, NeurIPS 2021")
@dataclass(frozen=True, kw_only=True)
class T3A:
    supports: int = one_of(100, 1, 5, 20, 50, -1)  # -1, ALL: each of them

    def adapt(self, model, target_data):
        if not isinstance(model.head, nn.Linear):
            raise NotApplicable(
                "the head is no single linear layer, whose rows t3a starts from; choose another backbone"
            )
        return Stream(freeze(model), self.supports)


class Stream(nn.Module):
    """A model whose classifier moves towards the features it sees."""

    def __init__(self, model, most):
        super().__init__()
        self.model, self.most = model, most
        rows = model.head.weight.detach()
        self.supports, self.classes, self.entropies = (
            rows,
            torch.arange(len(rows)).to(rows.device),
            entropy(model.head(rows)),
        )

    @torch.no_grad()
    def forward(self, images):
        features = self.model.features(images)
        logits = self.model.head(features)
        self.supports = torch.cat([self.supports, features])
        self.classes = torch.cat([self.classes, logits.argmax(1)])
        self.entropies = torch.cat([self.entropies, entropy(logits)])
        if self.most != ALL:
            self.keep_the_surest()
        centroids = features.new_zeros(logits.shape[1], features.shape[1])
        centroids.index_add_(0, self.classes, normalize(self.supports))
        return features @ normalize(centroids).T

    def keep_the_surest(self):
        """Of each class, the supports of lowest entropy."""
        order = self.entropies.argsort(stable=True)
        kept = [order[self.classes[order] == k][: self.most] for k in range(len(self.model.head.weight))]
        index = torch.cat(kept)
        self.supports, self.classes, self.entropies = self.supports[index], self.classes[index], self.entropies[index]
