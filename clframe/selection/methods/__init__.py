"""Ways to choose, one file each."""

from __future__ import annotations

from typing import cast

from clframe import registry
from clframe.selection.choice import Method

METHODS = {
    "adaptive": "clframe.selection.methods.adaptive:Adaptive",
    "auto": "clframe.selection.methods.auto:Auto",
    "craig": "clframe.selection.methods.craig:Craig",
    "facility-location": "clframe.selection.methods.facility_location:FacilityLocation",
    "grad-match": "clframe.selection.methods.grad_match:GradMatch",
    "greg": "clframe.selection.methods.greg:Greg",
    "herding": "clframe.selection.methods.herding:HerdingCoreset",
    "importance-resampling": "clframe.selection.methods.importance_resampling:ImportanceResampling",
    "k-center": "clframe.selection.methods.k_center:KCenter",
    "kernel-herding": "clframe.selection.methods.kernel_herding:KernelHerding",
    "leverage": "clframe.selection.methods.leverage:Leverage",
    "regression": "clframe.selection.methods.regression:Regression",
    "scored": "clframe.selection.methods.scored:TopScored",
    "sensitivity": "clframe.selection.methods.sensitivity:Sensitivity",
    "stratified": "clframe.selection.methods.stratified:Stratified",
    "uniform": "clframe.selection.methods.uniform:Uniform",
}

REGISTRY = registry.Registry("method", METHODS, group="clframe.selection")


def method(written: str) -> Method:
    """A method from its written form.

    Raises:
        OptionError: an unknown name or option.

    Example:
        >>> method("sensitivity(mixture=0.5)")
        Sensitivity(lam='ls', mixture=0.5, power=2.0, pilot=0, draw='iid')
    """
    name, options = registry.parse(written)
    return cast(Method, registry.call("method", name, REGISTRY.load(name), options))


__all__ = ["METHODS", "REGISTRY", "method"]
