"""BN-alpha: every batch norm mixes the source's statistics with those of the test batch; nothing is learned.

Steffen Schneider, Evgenia Rusak, Luisa Eck, Oliver Bringmann, Wieland Brendel, Matthias Bethge: Improving robustness
against common corruptions by covariate shift adaptation, NeurIPS 2020, arXiv:2006.16971.

    mu  <-  (1 - alpha) mu_source + alpha mu_batch     and sigma^2 likewise; gamma and beta stay

The paper writes alpha as n / (N + n), for n images a batch and a source that counts N. The default, .1, is the
usual one for batches of one image. No state goes from batch to batch. A backbone without batch norm is refused.
"""

from dataclasses import dataclass

from dabench.core import Needs, Reach, between, register
from dabench.nn import batch_norms, freeze, mix_batch_statistics


@register(needs=Needs.TEST_STREAM, paper="Schneider et al., NeurIPS 2020", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class BNAlpha:
    alpha: float = between(0.1, 0.0, 1.0)

    def adapt(self, model, target_data):
        for norm in batch_norms(freeze(model)):
            mix_batch_statistics(norm, self.alpha)
        return model
