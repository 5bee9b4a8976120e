"""Linear layers that compute with the weights that are not zero. A loader that is exported holds a copy of this text."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CsrLinear(nn.Module):
    """A Linear layer whose weight is a sparse CSR matrix.

    Small batches go through torch's CSR product; for large ones it is faster to add up the inputs that each unit reads.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CSR is "in beta" since torch 1.10
            csr = dense.weight.detach().to_sparse_csr()
            crow, col = csr.crow_indices().int(), csr.col_indices().int()
            weight = torch.sparse_csr_tensor(crow, col, csr.values(), csr.shape)
        self.register_buffer("weight", weight, persistent=False)
        bias = torch.zeros(len(dense.weight), device=dense.weight.device) if dense.bias is None else dense.bias.detach()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        flat, w = x.reshape(-1, x.shape[-1]), self.weight
        if len(flat) == 1:
            out = torch.addmv(self.bias, w, flat[0])
        elif len(flat) < 16:
            out = torch.addmm(self.bias[:, None], w, flat.t().contiguous()).t()
        else:
            offsets, index, value = w.crow_indices(), w.col_indices(), w.values()
            columns = flat.t().contiguous()
            sums = F.embedding_bag(index, columns, offsets, mode="sum", per_sample_weights=value, include_last_offset=True)
            out = sums.t() + self.bias
        return out.reshape(*x.shape[:-1], -1)


class GatherLinear(nn.Module):
    """A Linear layer with k weights for each unit: the inputs that they belong to, and their values, both (units, k).

    Units with fewer weights are filled up with weights of 0, so k is that of the unit with most.
    """

    index: Tensor
    value: Tensor
    bias: Tensor

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        weight = dense.weight.detach()
        fan_in = max(1, int((weight != 0).sum(1).max()))
        index = (weight != 0).int().topk(fan_in, dim=1).indices.sort(1).values
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("value", weight.gather(1, index), persistent=False)
        bias = torch.zeros(len(weight), device=weight.device) if dense.bias is None else dense.bias.detach()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        flat = x.reshape(-1, x.shape[-1])
        if len(flat) == 1:
            out: Tensor = torch.linalg.vecdot(flat[0].index_select(0, self.index.flatten()).view_as(self.value), self.value)
        else:
            out = F.embedding_bag(self.index, flat.t().contiguous(), per_sample_weights=self.value, mode="sum").t()
        return (out + self.bias).reshape(*x.shape[:-1], -1)


class SemiStructuredLinear(nn.Module):
    """A Linear layer in half precision with 2 weights in every 4, for GPUs whose tensor cores know that form.

    Rows and columns of zeros fill the weight up to multiples of 32 and 64, as the instructions want it. Before this layer is
    offered or written, its scores are compared with those of the dense layers on the GPU where it is to run.
    """

    bias: Tensor

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.units, self.filled = dense.out_features, -dense.in_features % 64
        weight = F.pad(dense.weight.detach().half(), (0, self.filled, 0, -self.units % 32))
        self.weight = nn.Parameter(torch.sparse.to_sparse_semi_structured(weight), requires_grad=False)
        bias = torch.zeros(self.units, device=weight.device) if dense.bias is None else dense.bias.detach()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b, the product in half precision."""
        flat = F.pad(x.reshape(-1, x.shape[-1]).half(), (0, self.filled))
        out = F.linear(flat, self.weight)[:, : self.units].float() + self.bias
        return out.reshape(*x.shape[:-1], -1)
