"""Models by name: from a string and the shapes of a stream to a `Network`, the same for the same seed."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clframe.errors import ClframeError, OptionError, bad_option, unknown_name
from clframe.locate import in_a_line, locate
from clframe.models.checks import positive, shape_of
from clframe.models.head import HEADS, Head, NoHead
from clframe.models.network import Network
from clframe.seeding import global_state, seed_for, set_global_state

MODELS: dict[str, str] = {
    "mlp": "clframe.models.mlp:MLP",
    "cnn": "clframe.models.cnn:CNN",
    "slim-resnet18": "clframe.models.resnet:slim_resnet18",
    "resnet18": "clframe.models.resnet:resnet18",
    "resnet32": "clframe.models.resnet:resnet32",
}
"""The built-in backbones: name -> "module:Name", imported when used."""
BRIDGES: dict[str, str] = {
    "timm": "clframe.bridges.backbones:timm",
    "transformers": "clframe.bridges.backbones:transformers",
    "augmented": "clframe.bridges.torchvision:augmented",
}
"""Those of other libraries: timm(name=resnet18)."""


def build(
    name: str | nn.Module,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    num_tasks: int = 1,
    head: str = "single",
    rows: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Network:
    """Build a model by name. Equal arguments give equal weights; torch's global generators stay as they are.

    Args:
        name: one of `MODELS`, or "module:Name" or "path/to/file.py:Name" for any class or function that makes an nn.Module.
            It is called with `options`, and with `input_shape` and `num_classes` where its signature names them. Or an
            nn.Module, which is copied with the weights that it has.
        input_shape: shape of one sample, such as (1, 28, 28).
        num_classes: classes of the whole stream.
        num_tasks: tasks of the stream; only head "multi" uses it.
        head: "single", "multi", "masked", "cosine" (see `Head`), put on the flattened outputs of the model; or "none", for a
            model of your own whose outputs are the logits already.
        rows: rows that head "multi" reserves; see `Head`.
        seed: the seed of the run; the weights are drawn from the stream named "model" of it.
        options: the model's own options, such as {"hidden": (100,)}.

    Raises:
        OptionError: an unknown name or option, a shape that the model does not take, or too few outputs for head "none".

    Example:
        >>> net = build("mlp", (1, 28, 28), 10)
        >>> sum(p.numel() for p in net.parameters())
        478410
        >>> build("resnet", (3, 32, 32), 10)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        clframe.errors.OptionError: model must be a known name; got 'resnet'. Did you mean 'resnet32' ...
    """
    shape = shape_of(input_shape)
    positive("num_classes", num_classes)
    module = name if isinstance(name, nn.Module) else None
    name = BRIDGES.get(name, name) if isinstance(name, str) else f"{type(name).__name__}:object"
    if head not in (*HEADS, "none"):
        raise unknown_name("head", head, (*HEADS, "none"))
    if name not in MODELS and ":" not in name:
        raise unknown_name("model", name, {**MODELS, **BRIDGES})
    if name in MODELS and head == "none":
        raise bad_option("head", f"one of {', '.join(HEADS)} for model {name!r}", head, "Its outputs are features.")
    with _seeded(seed_for(seed, "model")):
        factory = locate(MODELS.get(name, name)) if module is None else lambda: copy.deepcopy(module)
        backbone = _construct(name, factory, {"input_shape": shape, "num_classes": num_classes}, dict(options or {}))
        width = backbone.num_features if name in MODELS else _outputs(name, backbone, shape)
        if head != "none":
            return Network(backbone, Head(width, num_classes, kind=head, num_tasks=num_tasks, rows=rows))
        if width < num_classes:
            rule = f"a model with at least {num_classes} outputs, one per class, for head 'none'"
            raise bad_option("model", rule, f"{name} with {width}", "Widen its last layer, or use head='single'.")
        return Network(backbone, NoHead(num_classes))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generators as if seeded, and put them back after.

    `torch.manual_seed` would also seed CUDA devices that are not yet in use, which could not be put back.
    """
    state = global_state()
    torch.default_generator.manual_seed(seed)
    if "cuda" in state:
        torch.cuda.manual_seed_all(seed)
    try:
        yield
    finally:
        set_global_state(state)


def _construct(name: str, factory: Callable[..., Any], given: dict[str, Any], options: dict[str, Any]) -> Any:
    """Call the factory with its options, and with what it names of what is given; the options win."""
    parameters = inspect.signature(factory).parameters
    known = [p.name for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in known:
                raise unknown_name(f"option of model {name!r}", option, set(known) - set(given))
    arguments = {key: value for key, value in given.items() if key in known} | options
    try:
        made = factory(**arguments)
    except ClframeError:
        raise
    except Exception as error:  # whatever the user's constructor raises
        raise _refused(f"model {name!r}", "constructed", arguments, error) from error
    if not isinstance(made, nn.Module):
        raise bad_option("model", "a class or function that makes an nn.Module", name, f"It made a {type(made).__name__}.")
    return made


def _outputs(name: str, module: nn.Module, shape: tuple[int, ...]) -> int:
    """Outputs per sample, from one forward pass on zeros that leaves the modes as they were."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        with torch.no_grad():
            out = module(torch.zeros(1, *shape))
    except Exception as error:  # whatever the user's forward raises
        raise _refused(f"model {name!r}", "applied to zeros of the input's shape", shape, error) from error
    finally:
        for m in training:
            m.training = True
    if not isinstance(out, Tensor) or out.dim() < 2 or len(out) != 1:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise bad_option("model", "a module that maps (B, *input) to one tensor (B, ...)", name, f"For B = 1 it gave {found}.")
    return out.numel()


def _refused(what: str, done: str, value: object, error: Exception) -> OptionError:
    return OptionError(f"{what} cannot be {done}; got {value!r} and {in_a_line(error)}. Mend it or its options.")
