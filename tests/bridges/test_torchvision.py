"""torchvision's transforms as augmentation: in training only, resumed exactly, refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import clframe
from clframe.bridges.torchvision import Augmented
from clframe.checkpoint import Interrupted
from clframe.errors import OptionError
from clframe.eval.result import Result
from clframe.models import build

WORDS = "augmented(model=mlp(hidden=[20]),transforms=[RandomCrop(size=8,padding=2),RandomHorizontalFlip(p=0.3)])"


def run(**options: Any) -> Result:
    return clframe.run("split-digits(experiences=2)", "er(size=50)", **{"model": WORDS, "report": False, **options})


def test_images_are_transformed_one_by_one_and_only_in_training() -> None:
    options = {"model": "mlp", "transforms": ["RandomHorizontalFlip(p=0.5)"]}
    backbone = build("augmented", (1, 4, 4), 3, options=options).backbone
    assert isinstance(backbone, Augmented)
    backbone.backbone = torch.nn.Identity()
    x = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(64, 1, 1, 1)
    torch.manual_seed(0)
    flipped = backbone.train()(x)
    kinds = {tuple(image.flatten().tolist()) for image in flipped}
    assert kinds == {tuple(x[0].flatten().tolist()), tuple(x[0].flip(2).flatten().tolist())}
    assert torch.equal(backbone.eval()(x), x)


def test_it_trains_differently_and_is_measured_purely_and_resumed_exactly(tmp_path: Path) -> None:
    plain, once = run(model="mlp(hidden=[20])", evaluate="boundaries"), run(evaluate="boundaries")
    assert plain.terms.value.tolist() != once.terms.value.tolist()
    assert run(evaluate="every(k=20)").terms.equals(once.terms), "measuring changes nothing"
    with pytest.raises(Interrupted):
        run(evaluate="boundaries", out=tmp_path, progress=lambda n, total: n == 90)
    assert run(evaluate="boundaries", out=tmp_path).terms.equals(once.terms)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ("[RandomCropp(size=8)]", "Did you mean 'RandomCrop'"),
        ("[RandomCrop(sise=8)]", "transform 'RandomCrop' must take its options; got {'sise': 8}"),
        ("[RandomCrop(size=6)]", r"transforms must keep the shape (1, 8, 8); they give (1, 6, 6)"),
        ("[RandomCrop(size=30)]", "transforms must take images of shape (1, 8, 8)"),
    ],
)
def test_transforms_that_do_not_fit_are_refused(transforms: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        run(model=f"augmented(model=mlp,transforms={transforms})")
    assert message in str(error.value)
