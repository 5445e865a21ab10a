"""The source model as it is: the floor that every method starts from."""

from dataclasses import dataclass

from dabench.core import Needs, register


@register(needs=Needs.NOTHING, paper="the baseline")
@dataclass(frozen=True, kw_only=True)
class SourceOnly:
    def adapt(self, model, target_data):
        return model
