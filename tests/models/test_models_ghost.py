"""Ghost batch normalisation: the facts of accumulation, chunk by chunk, and groups kept apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import GhostBatchNorm1d, GhostBatchNorm2d, build, with_ghost_norm
from clframe.scenarios import class_incremental
from clframe.strategies import Learner, Replay


def plain_and_ghost(chunk: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))
    plain = plain.double()
    return plain, with_ghost_norm(plain, chunk)


def samples(count: int) -> Tensor:
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def statistics(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_buffers())


@pytest.mark.parametrize(("count", "chunk", "sizes"), [(12, 4, [4, 4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 5])])
def test_equal_to_accumulating_over_the_chunks(count, chunk, sizes):
    plain, ghost = plain_and_ghost(chunk)
    x, y = samples(count), torch.arange(count) % 4
    # 9 = 4 + 4 + 1: the vectors' last one joins the chunk before, so the maps are given the same cut by groups
    ghost[1].group_sizes = tuple(sizes)
    ghost[1].chunk = max(sizes)
    functional.cross_entropy(ghost(x), y, reduction="sum").backward()
    for part, labels in zip(x.split(sizes), y.split(sizes), strict=True):
        functional.cross_entropy(plain(part), labels, reduction="sum").backward()
    for a, b in zip(plain.parameters(), ghost.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=0, atol=1e-13)
    for name, value in statistics(plain).items():
        assert torch.allclose(value, statistics(ghost)[name], rtol=0, atol=1e-13), name  # sums end differently by alignment


def test_a_batch_of_one_chunk_is_batch_normalisation():
    plain, ghost = plain_and_ghost(8)
    assert torch.equal(plain(samples(8)), ghost(samples(8)))
    assert all(torch.equal(v, statistics(ghost)[k]) for k, v in statistics(plain).items())
    assert torch.equal(plain(samples(6)), ghost(samples(6)))


@pytest.mark.parametrize("layer", [GhostBatchNorm1d(1, chunk=2), GhostBatchNorm2d(1, chunk=2)])
def test_momentum_compounds_over_the_chunks(layer):
    x = torch.tensor([0.0, 2.0, 2.0, 4.0]).reshape(4, *[1] * (1 if isinstance(layer, nn.BatchNorm1d) else 3))
    layer(x)
    assert layer.running_mean.item() == pytest.approx(0.39, abs=1e-7)
    assert layer.num_batches_tracked.item() == 2


def test_the_last_smaller_chunk_has_statistics_of_its_own():
    x = torch.randn(10, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    out = GhostBatchNorm2d(3, chunk=4)(x)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        assert torch.equal(out[rows], nn.BatchNorm2d(3)(x[rows]))
        assert out[rows].mean((0, 2, 3)).abs().max() < 1e-6
    x = torch.randn(9, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(GhostBatchNorm2d(3, chunk=4)(x)[8:], nn.BatchNorm2d(3)(x[8:]))  # one map has a variance


def test_one_value_a_channel_has_no_variance():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    out = GhostBatchNorm1d(3, chunk=2)(x)
    assert torch.equal(out[2:], nn.BatchNorm1d(3)(x[2:]))
    layer = GhostBatchNorm1d(3, chunk=2)
    layer(x[:4])
    before = {k: v.clone() for k, v in layer.named_buffers()}
    alone = layer(x[4:])
    assert all(torch.equal(v, before[k]) for k, v in layer.named_buffers())
    assert torch.equal(alone, layer.eval()(x[4:]))


def test_evaluation_uses_the_running_statistics_whatever_the_batch():
    plain, ghost = plain_and_ghost(2)
    ghost(samples(8))
    ghost[1].group_sizes = (3, 5)
    plain.load_state_dict(ghost.state_dict())
    assert torch.equal(plain.eval()(samples(7)), ghost.eval()(samples(7)))
    assert torch.allclose(ghost(samples(7)[:1]), ghost(samples(7))[:1], rtol=0, atol=1e-13)


def test_groups_have_statistics_of_their_own():
    x = torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    layer, other = GhostBatchNorm2d(3), nn.BatchNorm2d(3)
    layer.group_sizes = (3, 4)
    assert torch.equal(layer(x), torch.cat([other(x[:3]), other(x[3:])]))
    assert torch.equal(layer.running_var, other.running_var)
    layer.group_sizes, layer.chunk = (3, 4), 2
    pieces = [nn.BatchNorm2d(3)(part) for part in x.split([2, 1, 2, 2])]
    assert torch.equal(layer(x), torch.cat(pieces))


def test_er_keeps_new_and_recalled_samples_apart():
    stream = class_incremental("digits").walked(batch_size=10)
    model = build("cnn", (1, 8, 8), 10, options={"widths": (4,), "norm": "ghost"})
    layer = next(m for m in model.modules() if isinstance(m, GhostBatchNorm2d))
    seen: list[tuple[Tensor, Tensor]] = []
    layer.register_forward_hook(lambda module, given, out: seen.append((given[0].detach(), out.detach())))
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), Replay(size=50, batch_size=6))
    made.begin(stream.experiences[0].train)
    for (_, batch), _ in zip(stream.experiences[0].steps(), range(3), strict=False):
        weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        made.observe(batch)
    given, out = seen[-1]
    assert len(given) == 16 and layer.group_sizes == ()
    for rows in (slice(0, 10), slice(10, 16)):
        expected = functional.batch_norm(given[rows], None, None, weight, bias, training=True)
        assert torch.allclose(out[rows], expected, atol=1e-6)
    mixed = functional.batch_norm(given, None, None, weight, bias, training=True)
    assert not torch.allclose(out, mixed, atol=1e-3)


def test_converting_keeps_the_weights_and_leaves_the_model():
    plain, _ = plain_and_ghost(4)
    plain(samples(8))
    plain[1].weight.requires_grad_(False)
    plain[1].eval()
    plain[1].momentum = 0.3
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    ghost = with_ghost_norm(plain, 4)
    assert [type(m) for m in (ghost[1], ghost[5], plain[1])] == [GhostBatchNorm2d, GhostBatchNorm1d, nn.BatchNorm2d]
    assert all(torch.equal(v, ghost.state_dict()[k]) and torch.equal(v, before[k]) for k, v in plain.state_dict().items())
    assert not ghost[1].weight.requires_grad and not ghost[1].training and ghost[1].momentum == 0.3
    ghost(samples(8))
    assert all(torch.equal(v, before[k]) for k, v in plain.state_dict().items())
    assert isinstance(with_ghost_norm(nn.BatchNorm1d(3), 4), GhostBatchNorm1d)
    assert with_ghost_norm(ghost, 7)[5].chunk == 7


@pytest.mark.parametrize("name", ["slim-resnet18", "resnet18", "resnet32"])
def test_resnets_take_ghost_normalisation_as_an_option(name):
    small = {"blocks": 1} if name == "resnet32" else {"width": 2}
    plain, ghost = (build(name, (3, 16, 16), 4, options={**small, "norm": norm, "chunk": 4}) for norm in ("batch", "ghost"))
    assert all(torch.equal(v, ghost.state_dict()[k]) for k, v in plain.state_dict().items())
    chunks = {m.chunk for m in ghost.modules() if isinstance(m, GhostBatchNorm2d)}
    assert chunks == {4} and not any(type(m) is nn.BatchNorm2d for m in ghost.modules())


@pytest.mark.parametrize("norm", ["layer", "batch", "ghost"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_mlp_and_cnn_normalise_before_every_nonlinearity(name, norm):
    net = build(name, (1, 8, 8), 4, options={"norm": norm})
    layers = list(net.backbone.layers)
    for before, normed, after in zip(layers, layers[1:], layers[2:], strict=False):
        if isinstance(before, nn.Linear | nn.Conv2d):
            assert before.bias is None and isinstance(after, nn.ReLU) and sum(p.numel() for p in normed.parameters())
    assert net(torch.randn(3, 1, 8, 8)).isfinite().all()


def test_a_run_reaches_it_by_words():
    result = clframe.run("split-digits", "er(size=50)", model="mlp(hidden=[16],norm=ghost,chunk=8)", evaluate="boundaries")
    assert result.finished


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GhostBatchNorm2d(3, chunk=1), "chunk must be 2 or more"),
        (lambda: GhostBatchNorm1d(3, chunk=0), "chunk must be a positive integer"),
        (lambda: with_ghost_norm(nn.Linear(2, 2)), "model must be one with batch normalisation"),
        (lambda: with_ghost_norm(nn.BatchNorm1d(2), 1), "chunk must be 2 or more"),
        (lambda: build("cnn", (1, 8, 8), 2, options={"norm": "gost"}), "Did you mean 'ghost'"),
        (lambda: build("resnet32", (1, 8, 8), 2, options={"norm": "none"}), "norm must be a known name"),
        (lambda: build("mlp", (1, 8, 8), 2, options={"norm": "ghost", "chunk": 1}), "chunk must be 2 or more"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
