"""Models of transformers and timm as backbones by name, features of them computed once, and models saved for `from_pretrained`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clframe.bridges.extra import bring
from clframe.data import Dataset, TensorSource
from clframe.errors import OptionError, RunError, bad_option, unknown_name
from clframe.locate import in_a_line
from clframe.models import Network
from clframe.models import build as build_network
from clframe.registry import parse
from clframe.types import Source

POOLING = ("auto", "mean", "first")


class Pooled(nn.Module):
    """A model of transformers as a backbone: inputs (B, ...) -> features (B, d).

    Images go in as pixel_values, everything else as input_ids, whole numbers. Features are the model's pooled output where it has
    one ("auto"), the mean of the last hidden states, or the first of them.

    Args:
        model: the model.
        pooling: "auto", "mean" or "first".
    """

    def __init__(self, model: Any, pooling: str = "auto") -> None:
        super().__init__()
        if pooling not in POOLING:
            raise unknown_name("pooling", pooling, POOLING)
        self.model, self.pooling = model, pooling
        self.images = str(model.main_input_name) == "pixel_values"

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, d)."""
        out = self.model(pixel_values=x) if self.images else self.model(input_ids=x.flatten(1).long())
        pooled = getattr(out, "pooler_output", None)
        if pooled is not None and self.pooling == "auto":
            flat: Tensor = pooled.flatten(1)
            return flat
        hidden: Tensor = out.last_hidden_state
        hidden = hidden.flatten(2).transpose(1, 2) if hidden.dim() == 4 else hidden  # maps (B, C, H, W) as places
        return hidden[:, 0] if self.pooling == "first" else hidden.mean(dim=1)


def transformers(name: str, pooling: str = "auto") -> Pooled:
    """A model of Hugging Face transformers, without its head: `transformers(name=FOLDER)` or a name of the hub.

    Args:
        name: folder that `save_pretrained` wrote, or OWNER/NAME of the hub, where there is a network.
        pooling: see `Pooled`.

    Raises:
        MissingExtraError: transformers is not installed.
        OptionError: there is no such model.
    """
    library = bring("transformers", "model 'transformers'", "text", at_least="4.40")
    try:
        return Pooled(library.AutoModel.from_pretrained(name), pooling)
    except (OSError, ValueError) as error:
        raise bad_option(
            "name", f"a model of transformers ({in_a_line(error)})", name, "Give a folder of save_pretrained."
        ) from error


def timm(name: str, input_shape: Sequence[int], pretrained: bool = False, checkpoint: str = "") -> nn.Module:
    """A model of timm, without its head: `timm(name=resnet18)`, `timm(name=vit_tiny_patch16_224, pretrained=True)`.

    Args:
        name: as `timm.list_models` has it.
        input_shape: shape of one sample; its channels, and for models that need it its size, are the model's.
        pretrained: load weights, which needs a network.
        checkpoint: file of weights to load instead.

    Raises:
        MissingExtraError: timm is not installed.
        OptionError: an unknown model, with the nearest names; inputs that are no images.
    """
    library = bring("timm", "model 'timm'", "timm", at_least="0.9")
    if name not in library.list_models():
        raise unknown_name("model of timm", name, library.list_models(f"{name[:3]}*") or library.list_models()[:20])
    if len(input_shape) != 3:
        raise bad_option("model", "one for the inputs at hand; timm's are for images", tuple(input_shape), "Choose 'mlp'.")
    options = {"pretrained": pretrained, "checkpoint_path": checkpoint, "num_classes": 0, "in_chans": int(input_shape[0])}
    try:
        made = library.create_model(name, img_size=tuple(input_shape[1:]), **options)
    except TypeError:  # convolutional models take any size
        made = library.create_model(name, **options)
    found: nn.Module = made
    return found


def features(
    data: Dataset,
    model: str | nn.Module,
    *,
    batch_size: int = 256,
    cache: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Dataset:
    """The data set with the features of a frozen model in the place of its inputs, computed once.

    Args:
        data: the data set.
        model: a name in words, such as "timm(name=resnet18)" or "transformers(name=FOLDER)", or a module.
        batch_size: samples sent forward at a time.
        cache: folder in which features are kept, by data and weights; computed anew without one.
        device: where to compute.
        seed: of the weights, where the model is drawn at random.

    Raises:
        OptionError: an unknown model, or one that does not take the inputs.

    Example:
        >>> from clframe.data import load
        >>> from torch import nn
        >>> made = features(load("digits"), nn.Sequential(nn.Flatten(), nn.Linear(64, 5)))
        >>> made.train.input_shape, len(made.train)
        ((5,), 1438)
    """
    name, options = (model, {}) if isinstance(model, nn.Module) else parse(model)
    network = build_network(name, data.train.input_shape, data.num_classes, seed=seed, options=options).to(device).eval()
    words = type(model).__name__ if isinstance(model, nn.Module) else model
    known = _hash(network.backbone)
    parts = [_features(source, network, batch_size, cache, known, words) for source in (data.train, data.test)]
    return Dataset(f"{data.name} ({words})", parts[0], parts[1], data.allow_missing)


def save_pretrained(model: Network | nn.Module, folder: str | Path, tokenizer: Any = None) -> Path:
    """Write the backbone, and its tokenizer, so that `AutoModel.from_pretrained` loads them, without clframe.

    Beside it lies `head.safetensors`: the weights of the head, where the network has one. Other networks than those with a model
    of transformers are written by `clframe.export`.

    Args:
        model: a network, such as `result`'s strategy has, or the backbone alone.
        folder: where to.
        tokenizer: of the model.

    Raises:
        OptionError: the backbone is no model of transformers.
        RunError: the folder cannot be written.
    """
    backbone = model.backbone if isinstance(model, Network) else model
    if not isinstance(backbone, Pooled):
        kind = type(backbone).__name__
        raise bad_option("model", "one with a backbone 'transformers(name=...)'", kind, "Write other networks with clframe.export.")
    target = Path(folder)
    try:
        backbone.model.save_pretrained(target)
        if tokenizer is not None:
            tokenizer.save_pretrained(target)
        if isinstance(model, Network) and (weights := model.head.state_dict()):
            from safetensors.torch import save_file

            save_file({name: value.contiguous() for name, value in weights.items()}, str(target / "head.safetensors"))
    except OSError as error:
        raise RunError(f"{target} must be a folder that can be written; {error}. Give another.") from error
    return target


def _features(source: Source, network: Network, size: int, cache: str | Path | None, known: str, words: str) -> TensorSource:
    digest = hashlib.blake2b(f"{source.fingerprint()} {known}".encode(), digest_size=12).hexdigest()
    file = None if cache is None else Path(cache) / f"features-{digest}.npy"
    values = np.load(file) if file is not None and file.exists() else _forward(source, network, size, words)
    if file is not None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.stem}.{os.getpid()}.npy")
        np.save(part, values)
        os.replace(part, file)
    columns = getattr(source, "columns", {})
    return TensorSource(
        values, source.y, name=source.name, class_names=source.class_names, task=source.task, weight=source.weight, columns=columns
    )


@torch.inference_mode()
def _forward(source: Source, network: Network, size: int, words: str) -> Any:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    found = []
    for start in range(0, len(source), size):
        ids = torch.arange(start, min(start + size, len(source)))
        try:
            found.append(network.features(source.fetch(ids).to(device)).float().cpu().numpy())
        except (RuntimeError, ValueError, IndexError) as error:
            raise OptionError(f"model {words!r} must take the inputs; {in_a_line(error)}. Choose another.") from error
    return np.concatenate(found)


def _hash(module: nn.Module) -> str:
    digest = hashlib.blake2b(repr(module).encode(), digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
