"""Hugging Face: scenarios and coresets out and back by ids, streaming data in, backbones, from_pretrained."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from torch import nn

import clframe
from clframe.bridges import backbones, extra
from clframe.bridges.huggingface import landed, save, to_coreset, to_datasets, to_scenario
from clframe.data import column, from_arrays, from_huggingface, load
from clframe.errors import CompositionError, DataError, MissingExtraError, OptionError, RunError
from clframe.models import build
from clframe.scenarios import Stream
from clframe.scenarios.catalog import build as scenario
from clframe.selection import pool_of, select

SCENARIOS = [
    "split-digits(experiences=5)",
    "task-split-digits(experiences=5,validation=0.1)",
    "permuted-digits(experiences=2,samples_per_experience=100)",
    "recurring-digits(experiences=4,classes_per_experience=3)",
    "online-gaussian-digits",
]


def same(a: Stream, b: Stream) -> None:
    assert (a.name, a.reveals, a.seed, a.order, a.online, a.tested_on) == (
        b.name,
        b.reveals,
        b.seed,
        b.order,
        b.online,
        b.tested_on,
    )
    assert (None if a.tasks is None else list(a.tasks)) == (None if b.tasks is None else list(b.tasks))
    for mine, theirs in ((a.segments, b.segments), (a.tests, b.tests), (a.validation, b.validation)):
        assert len(mine) == len(theirs)
        assert all(np.array_equal(x, y) for x, y in zip(mine, theirs))


@pytest.mark.parametrize("words", SCENARIOS)
def test_a_scenario_comes_back_equal_by_ids(words: str, tmp_path: Path) -> None:
    stream = scenario(words, options={}, seed=3)
    whole = len({int(i) for part in (*stream.segments, *stream.validation) for i in part}) == len(stream.data.train)
    back = to_scenario(save(stream, tmp_path / "made"))
    ids = column(back.data.train, "id")
    for mine, theirs in zip((*back.segments, *back.validation), (*stream.segments, *stream.validation), strict=True):
        assert np.array_equal(ids[mine], theirs)
    some = stream.segments[-1][:7]
    there = np.searchsorted(ids, some)
    assert torch.equal(back.data.train.fetch(torch.from_numpy(there)), stream.data.train.fetch(torch.from_numpy(some)))
    assert np.array_equal(back.data.train.y[there], stream.data.train.y[some])
    assert back.data.train.class_names == stream.data.train.class_names
    if whole:
        same(back, stream)
        one, two = (s.walked(batch_size=10).experiences[-1].steps() for s in (stream, back))
        assert all(torch.equal(a.index, b.index) and torch.equal(a.x, b.x) for (_, a), (_, b) in zip(one, two))
    same(to_scenario(to_datasets(stream)), back)


def test_a_run_on_the_scenario_that_came_back_is_the_same(tmp_path: Path) -> None:
    stream = scenario("split-digits(experiences=2)", options={}, seed=0)
    back = to_scenario(save(stream, tmp_path / "made"))
    a, b = (clframe.run(s, "er(size=20)", evaluate="boundaries", model="mlp(hidden=[20])") for s in (stream, back))
    assert a.rows.correct.tolist() == b.rows.correct.tolist()


def test_the_folder_is_a_data_set_with_a_card(tmp_path: Path) -> None:
    stream = scenario("split-digits(experiences=2)", options={}, seed=0)
    folder = save(stream, tmp_path / "made")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "clframe.json", "test.parquet", "train.parquet"]
    text = (folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---")[1])
    assert {f["split"] for f in header["configs"][0]["data_files"]} == {"train", "test"}
    assert "continual-learning" in header["tags"] and stream.fingerprint() in text
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 1438 and loaded["train"].features["label"].names == [str(d) for d in range(10)]
    assert np.asarray(loaded["test"].with_format("numpy")[:2]["input"]).shape == (2, 1, 8, 8)
    with pytest.raises(RunError, match="must not be there yet"):
        save(stream, folder)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("losses", [True, False])
def test_a_coreset_comes_back_equal(losses: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    coreset = select(pool_of(x), size=40, method="uniform", seed=1, loss=np.abs(x[:, 0]) if losses else None)
    source = datasets.Dataset.from_dict({"text": [f"row {i}" for i in range(300)]})
    made = to_datasets(coreset, source)
    assert made["train"]["text"][:] == [f"row {i}" for i in coreset.rows]
    for back in (to_coreset(made), to_coreset(save(coreset, tmp_path / "made", source)), to_coreset(to_datasets(coreset))):
        assert np.array_equal(back.ids, coreset.ids) and np.array_equal(back.weights, coreset.weights)
        assert back.table().equals(coreset.table())
        assert back.mean_loss == coreset.mean_loss and (back.mean_loss is not None) == losses
        assert back.manifest["method"] == "uniform" and back.manifest["pool"]["rows"] == 300
    assert "40 of 300 samples, chosen with `uniform`" in (tmp_path / "made" / "README.md").read_text()
    with pytest.raises(DataError, match="must have the 300 rows"):
        to_datasets(coreset, source.select(range(10)))


def test_what_cannot_be_written_or_read_is_refused(tmp_path: Path) -> None:
    curated = scenario("curated(stream=split-digits,budget=20%)", options={}, seed=0)
    with pytest.raises(CompositionError, match="trains on a coreset"):
        to_datasets(curated)
    with pytest.raises(DataError, match="it does not say so"):
        to_scenario(datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}))
    with pytest.raises(DataError, match=r"it has no clframe.json that can be read"):
        to_scenario(tmp_path)
    coreset = select(pool_of(np.eye(10)), size=4, method="uniform")
    with pytest.raises(DataError, match=r"it is a coreset. Use to_coreset"):
        to_scenario(to_datasets(coreset))
    with pytest.raises(DataError, match=r"it is a scenario. Use to_scenario"):
        to_coreset(to_datasets(scenario("split-digits(experiences=2)", options={}, seed=0)))


def test_streaming_data_is_kept_as_far_as_it_is_needed(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["on", "off"])
    features = datasets.Features({"u": datasets.Value("float32"), "label": names})
    whole = datasets.Dataset.from_dict({"u": np.arange(100.0), "label": np.arange(100) % 2}, features=features)
    with pytest.raises(DataError, match=r"must be a datasets.Dataset; got IterableDataset"):
        from_huggingface(whole.to_iterable_dataset())
    kept = landed(whole.to_iterable_dataset(), 40, tmp_path)
    assert kept["u"][:] == list(range(40)) and kept.features == features
    data = from_huggingface(kept, standardise=False)
    assert data.train.class_names == ("on", "off") and len(data.train) + len(data.test) == 40
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    landed(whole.to_iterable_dataset(), 40, tmp_path)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(DataError, match="it has none"):
        landed(whole.to_iterable_dataset().filter(lambda row: row["u"] < 0), 3, tmp_path)


def bert() -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    return BertModel(
        BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).eval()


def test_a_model_of_transformers_is_a_backbone_and_is_saved_for_from_pretrained(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

    bert().save_pretrained(tmp_path / "bert")
    rng = np.random.default_rng(0)
    tokens, y = rng.integers(0, 20, (80, 6)), np.arange(80) % 4
    tokens[:, 0] = y
    data = from_arrays(tokens.astype(np.float32), y, name="tokens")
    stream = clframe.scenarios.class_incremental(data, experiences=2)
    words = f"transformers(name={tmp_path / 'bert'})"
    result = clframe.run(stream, "finetune", model=words, evaluate="boundaries", lr=0.01, epochs=2)
    assert result.finished and result.spec["resolved"]["model"] == "Pooled + single head"

    network = build("transformers", (6,), 4, options={"name": str(tmp_path / "bert")})
    ids = torch.from_numpy(tokens[:3])
    assert torch.allclose(network.eval().features(ids.float()), bert()(input_ids=ids).pooler_output)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")))
    folder = backbones.save_pretrained(network, tmp_path / "saved", tokenizer)
    again = AutoModel.from_pretrained(folder)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.backbone.model.state_dict().values()))
    assert AutoTokenizer.from_pretrained(folder)("b")["input_ids"] == [1]
    from safetensors.torch import load_file

    head = load_file(str(folder / "head.safetensors"))
    assert {k: v.tolist() for k, v in head.items()} == {k: v.tolist() for k, v in network.head.state_dict().items()}
    with pytest.raises(OptionError, match=r"with a backbone 'transformers\(name=...\)'; got 'MLP'. Write other networks with"):
        backbones.save_pretrained(build("mlp", (6,), 4), tmp_path / "mlp")
    with pytest.raises(OptionError, match="name must be a model of transformers"):
        build("transformers", (6,), 4, options={"name": str(tmp_path / "nowhere")})


def test_images_go_into_a_vision_model_of_transformers() -> None:
    from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

    small: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vit = backbones.Pooled(ViTModel(ViTConfig(image_size=8, patch_size=4, num_channels=1, **small)), "mean")
    resnet = backbones.Pooled(ResNetModel(ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])))
    for module in (vit, resnet):
        made = backbones.features(load("digits"), module)
        assert made.train.input_shape == (16,)


def test_models_of_timm_are_backbones(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    network = build("timm", (3, 32, 32), 10, options={"name": "resnet10t"})
    assert tuple(network.features(torch.zeros(2, 3, 32, 32)).shape) == (2, 512)
    same_again = build("timm", (3, 32, 32), 10, options={"name": "resnet10t"})
    assert torch.equal(next(network.parameters()), next(same_again.parameters())), "drawn from the run's seed"
    with pytest.raises(OptionError, match="Did you mean 'resnet18"):
        build("timm", (3, 32, 32), 10, options={"name": "resnet18x"})
    with pytest.raises(OptionError, match="timm's are for images"):
        build("timm", (7,), 10, options={"name": "resnet10t"})


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            out: torch.Tensor = self.inner(x.flatten(1))
            return out

    torch.manual_seed(0)
    net, digits = Net(), load("digits")
    first = backbones.features(digits, net, cache=tmp_path, batch_size=500)
    assert sum(calls) == 1 + 1438 + 359
    again = backbones.features(digits, net, cache=tmp_path)
    assert sum(calls) == 2 + 1438 + 359 and again.fingerprint() == first.fingerprint()
    ids = torch.arange(5)
    assert torch.allclose(first.train.fetch(ids), net(digits.train.fetch(ids)), atol=1e-6)
    assert np.array_equal(first.train.y, digits.train.y)
    with torch.no_grad():
        net.inner.bias += 1
    assert backbones.features(digits, net, cache=tmp_path).fingerprint() != first.fingerprint()
    result = clframe.run(clframe.scenarios.class_incremental(first, experiences=2), "ncm(backbone=given)", evaluate="boundaries")
    assert result.finished
    with pytest.raises(OptionError, match=r"model must be a known name; got 'mlpp'. Did you mean 'mlp'"):
        backbones.features(digits, "mlpp")


def test_a_missing_package_is_answered_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extra.metadata, "version", version)
    for name in ("timm", "transformers"):
        with pytest.raises(MissingExtraError, match=rf"model '{name}' needs {name}, which is not installed. Run: pip install"):
            build(name, (3, 32, 32), 10, options={"name": "x"})
    assert "clframe" in sys.modules
