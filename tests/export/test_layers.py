"""Sparse layers, slicing, packed weights and the written forward, on nets made by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clframe.exporting.flat import NotWritableError, constructor, flattened, forward_lines, standard_imports
from clframe.exporting.kernels import SPARSE, sparse_layers, with_kernel
from clframe.exporting.slicing import sliced
from clframe.exporting.sparse_layers import SemiStructuredLinear
from clframe.exporting.stored import packed


def sparse(layer: nn.Linear, density: float, seed: int = 0) -> nn.Linear:
    drawn = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        layer.weight.mul_(drawn < density)
    return layer


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.sampled_from(["csr", "gather"]),
    units=st.integers(1, 9),
    inputs=st.integers(1, 9),
    batch=st.sampled_from([1, 2, 20]),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    bias=st.booleans(),
)
def test_a_sparse_layer_computes_what_the_dense_one_does(
    kernel: str, units: int, inputs: int, batch: int, density: float, bias: bool
) -> None:
    dense = sparse(nn.Linear(inputs, units, bias=bias), density).requires_grad_(False)
    x = torch.randn(batch, inputs)
    layer = SPARSE[kernel](dense)
    assert torch.allclose(layer(x), dense(x), atol=1e-5)
    assert torch.allclose(layer(x[None, None]), dense(x[None, None]), atol=1e-5)
    with torch.inference_mode():
        assert layer(x).shape == (batch, units)


def test_two_of_four_fills_up_and_cuts_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the GPU does is left out: the layer around it is compared with the dense one."""
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda weight: weight)
    dense = nn.Linear(100, 10).requires_grad_(False)
    dense.weight.view(-1, 2)[:, 0] = 0
    layer = SemiStructuredLinear(dense)
    assert tuple(layer.weight.shape) == (32, 128)
    x = torch.randn(3, 100)
    assert torch.allclose(layer(x), dense(x), atol=1e-2)
    assert sparse_layers(nn.Sequential(dense), "2:4") == ["0"]
    assert sparse_layers(nn.Sequential(sparse(nn.Linear(100, 10), 0.4)), "2:4") == []


def test_layers_that_are_not_sparse_stay() -> None:
    net = nn.Sequential(sparse(nn.Linear(6, 6), 0.2), nn.ReLU(), nn.Linear(6, 2))
    made = with_kernel(net, "csr")
    assert [type(m).__name__ for m in made] == ["CsrLinear", "ReLU", "Linear"]
    assert type(net[0]) is nn.Linear


def agree(net: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """The sliced net, once it is seen to compute the same."""
    net = net.double().eval()
    small, removed = sliced(net)
    x = torch.randn(16, *shape, dtype=torch.float64)
    assert torch.allclose(small(x), net(x), atol=1e-10)
    return small, removed


def test_constants_go_into_the_next_bias_and_uselessness_spreads_backwards() -> None:
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        net[4].running_mean.uniform_(-1, 1)
        net[4].bias.fill_(0.7)
        net[1].weight[0] = 0  # constant relu(bias)
        net[1].bias[0] = 0.5
        net[3].weight[:, 1] = 0  # nothing reads it
        net[3].weight[2, 2:] = 0  # reads unit 0 alone, once unit 1 is gone: a constant, too
        net[6].weight[:, 3] = 0  # nothing reads it
    small, removed = agree(net, (6,))
    assert removed == 4
    assert (small[1].out_features, small[3].out_features, small[4].num_features, small[6].in_features) == (3, 2, 2, 2)
    assert small[3].bias is not None


def test_maps_are_sliced_through_pooling_and_flattening() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 3),
    )  # fmt: skip
    with torch.no_grad():
        net[4].weight[:, 1] = 0  # nothing reads map 1
        net[4].weight[0] = 0  # map 0 is constant, and the Linear takes up what it adds
        net[7].weight.view(3, 5, 16)[:, 3] = 0
    small, removed = agree(net, (1, 8, 8))
    assert removed == 3
    assert (small[0].out_channels, small[1].num_features, small[4].in_channels, small[4].out_channels) == (3, 3, 3, 3)
    assert small[7].in_features == 3 * 16


def test_a_constant_map_before_a_border_of_zeros_stays() -> None:
    for bias, removed in ((1.0, 0), (-1.0, 1)):  # after the ReLU 1, which the border breaks off, or 0, which it does not
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1), nn.Flatten())
        with torch.no_grad():
            net[0].weight[0] = 0
            net[0].bias[0] = bias
        assert agree(net, (1, 6, 6))[1] == removed


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.inner, self.outer, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.into(x))
        return self.out(h + self.outer(F.relu(self.inner(h))))


def test_inside_a_residual_block_units_go_and_the_stream_stays() -> None:
    net = Residual()
    with torch.no_grad():
        net.inner.weight[0] = 0
        net.outer.weight[:, 1] = 0
        net.into.weight[2] = 0
    small, removed = agree(net, (4,))
    assert removed == 2
    assert (small.into.out_features, small.inner.out_features) == (4, 2)


def test_one_unit_always_stays() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[2].weight.zero_()
    assert agree(net, (3,))[1] == 3


@settings(max_examples=20, deadline=None)
@given(size=st.integers(0, 40), density=st.sampled_from([0.0, 0.1, 1.0]))
def test_bits_and_values_are_the_weights_again(size: int, density: float) -> None:
    weight = torch.randn(size, 3) * (torch.rand(size, 3) < density)
    held = packed({"w": weight})
    if "w" in held:
        assert torch.equal(held["w"], weight)
        return
    bits = (held["w.bits"].int()[:, None] >> torch.arange(7, -1, -1)) & 1
    again = torch.zeros(weight.numel())
    again[bits.flatten()[: weight.numel()].bool()] = held["w.values"]
    assert torch.equal(again.view_as(weight), weight)
    assert held["w.bits"].nbytes + held["w.values"].nbytes < weight.nbytes


def test_the_forward_is_written_as_a_person_would() -> None:
    net = nn.Sequential()
    net.add_module("backbone", nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Identity(), nn.ReLU()))
    net.add_module("head", nn.Linear(3, 2))
    flat = flattened(net)
    assert [line.strip() for line in forward_lines(flat)] == [
        "_0 = self._0(x)", "_1 = self._1(_0)", "_3 = self._3(_1)", "head = self.head(_3)", "return head",
    ]  # fmt: skip
    assert standard_imports(flat) == []


def test_what_is_not_torchs_is_not_written() -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return helper(x)

    with pytest.raises(NotWritableError, match=r"must call torch alone; .*helper"):
        standard_imports(flattened(nn.Sequential(Strange())))
    with pytest.raises(NotWritableError, match="MultiheadAttention does not say how"):
        constructor(nn.MultiheadAttention(4, 2))


def helper(x: Tensor) -> Tensor:
    return x


torch.fx.wrap("helper")
