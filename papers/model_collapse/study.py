"""Generations of synthetic data: least squares and a Gaussian against closed forms, a VAE on images, a language model on texts."""

from __future__ import annotations

from papers.model_collapse.drawing import figure
from papers.model_collapse.groups import SCALES, groups, summary
from papers.model_collapse.outcome import quantities
from papers.model_collapse.samples import write
from papers.study import Study

STUDY = Study(
    name="model_collapse",
    title="Generations of synthetic data: closed forms, a VAE on images, a language model on texts",
    scales={scale: summary(scale) for scale in SCALES},
    groups=groups,
    quantities=quantities,
    figure=figure,
    pictured="collapse",
    samples=write,
)
