"""A small language model, trained from scratch on the texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from clframe.errors import DataError, DivergedError, MissingExtraError, bad_option, unknown_name
from clframe.generations.generators.interface import Columns, Floats, need_fit
from clframe.seeding import generator as torch_generator
from clframe.seeding import seeded

KINDS = ("gpt2", "llama")
BEGIN, PAD = 0, 1
"""Tokens that no text has: its beginning and end, and what fills a row."""
BLOCK = 250
"""Texts that are scored or made at once."""


@final
@dataclass
class Language:
    """A causal transformer (GPT-2 or Llama in shape) over byte pairs that are learned on the real training texts.

        loss_i = -1 / |t_i| sum_j ln p(t_ij | t_i1, ..., t_i,j-1),  in nats a token, the end of the text included

    Texts longer than `context` tokens are cut there. The vocabulary is learned once, on the real data, so that losses of all
    generations are of the same tokens. `fit` minimises

        sum_i w_i |t_i| loss_i / sum_i w_i |t_i|

    by AdamW with a linear decline of the learning rate: each token counts alike, so that texts are as long as those that were
    learned from. `sample` draws token by token, many texts at a time, with the keys and values of earlier tokens kept. Nothing
    is downloaded. Column: "text" (n,).

    Args:
        kind: "gpt2" or "llama".
        vocabulary: tokens, at least 258.
        context: tokens of a text, at most.
        width: of the hidden states; a multiple of `heads`.
        layers, heads: of the transformer.
        epochs: passes over the training texts.
        batch: texts of an update.
        lr: the largest learning rate.
        temperature: of sampling; below 1 likely tokens become likelier, which itself loses the tails.
        device: "cpu", "cuda" or any other of torch.

    Raises:
        OptionError: an option breaks its rule, or nothing was fitted.
        DataError: no texts.
        DivergedError: the loss is no longer finite.
        MissingExtraError: transformers or tokenizers is not installed.

    Reference: Radford et al., "Language models are unsupervised multitask learners", 2019; Touvron et al., "Llama 2", 2023; on
        generations of them: Gerstgrasser et al., COLM 2024.

    Differences:
        1. No text is rejected or made again: what is sampled is what the next generation may train on.
    """

    kind: str = "gpt2"
    vocabulary: int = 512
    context: int = 128
    width: int = 64
    layers: int = 2
    heads: int = 2
    epochs: int = 10
    batch: int = 32
    lr: float = 1e-3
    temperature: float = 1.0
    device: str = "cpu"
    tokenizer: Any = field(default=None, init=False, repr=False)
    net: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of language model", self.kind, KINDS)
        for name, least in (
            ("vocabulary", 258),
            ("context", 2),
            ("width", 2),
            ("layers", 1),
            ("heads", 1),
            ("epochs", 1),
            ("batch", 1),
        ):
            if getattr(self, name) < least:
                raise bad_option(name, f"a whole number from {least}", getattr(self, name), "Leave it out.")
        if self.width % (2 * self.heads):
            raise bad_option("width", "a multiple of twice the heads", self.width, f"Give width={64 * self.heads}.")
        for name in ("lr", "temperature"):
            if not getattr(self, name) > 0:
                raise bad_option(name, "positive", getattr(self, name), "Leave it out.")
        try:
            import tokenizers  # noqa: F401
            import transformers  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                "generator 'language' needs transformers and tokenizers, which are not installed. Run: pip install 'clframe[text]'"
            ) from error

    def prepare(self, real: Columns) -> None:
        """Learn the byte pairs."""
        from tokenizers import ByteLevelBPETokenizer

        self.tokenizer = ByteLevelBPETokenizer()
        self.tokenizer.train_from_iterator(_texts(real), self.vocabulary, 2, False, ["<begin>", "<pad>"])

    def fit(self, data: Columns, weight: Floats, seed: int) -> None:
        """See `Generator`."""
        if self.tokenizer is None:
            self.prepare(data)
        rows = self._tokens(_texts(data))
        mass = torch.from_numpy((weight / weight.mean()).astype(np.float32)).to(self.device)
        with seeded(seed, "weights"):
            self.net = self._made().to(self.device)
            random = torch_generator(seed, "language")
            optimiser = torch.optim.AdamW(self.net.parameters(), lr=self.lr)
            total = self.epochs * -(-len(rows) // self.batch)
            length = (mass * _lengths(rows)).mean()
            decline = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1, (step + 1) / 20) * (1 - step / (total + 1)))
            for _ in range(self.epochs):
                for some in torch.split(torch.randperm(len(rows), generator=random), self.batch):
                    some = some.to(self.device)
                    loss = (mass[some] * _lengths(rows[some]) * self._losses(rows[some])).mean() / length
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                    optimiser.step()
                    decline.step()
                if not bool(torch.isfinite(loss)):
                    raise DivergedError(f"the loss of generator 'language' must be finite; got {loss.item()}. Give a smaller lr.")
        self.net.eval()

    def sample(self, n: int, seed: int) -> Columns:
        """See `Generator`."""
        need_fit(self.net, "language")
        random = torch_generator(seed, "language-sample")
        with torch.inference_mode():
            rows = [row for start in range(0, n, BLOCK) for row in self._drawn(min(BLOCK, n - start), random)]
        return {"text": np.array(self.tokenizer.decode_batch(rows), dtype=object)}

    def _drawn(self, n: int, random: torch.Generator) -> list[list[int]]:
        """Token after token for n texts side by side; each ends where it draws the end."""
        token = torch.full((n, 1), BEGIN, device=self.device)
        past, found, open_ = None, [], torch.ones(n, dtype=torch.bool)
        for _ in range(self.context):
            told = self.net(input_ids=token, past_key_values=past, use_cache=True)
            past, logits = told.past_key_values, told.logits[:, -1].float().cpu()
            logits[:, PAD] = -torch.inf
            drawn = torch.multinomial((logits / self.temperature).softmax(dim=1), 1, generator=random)
            drawn[~open_] = PAD
            open_ &= drawn[:, 0] != BEGIN
            found.append(drawn)
            if not open_.any():
                break
            token = drawn.to(self.device)
        return [[t for t in row if t > PAD] for row in torch.cat(found, dim=1).tolist()]

    def score(self, data: Columns) -> Floats:
        """See `Generator`."""
        need_fit(self.net, "language")
        with torch.inference_mode():
            found = [self._losses(rows).cpu() for rows in torch.split(self._tokens(_texts(data)), BLOCK)]
        return torch.cat(found).double().numpy()

    def embed(self, data: Columns) -> npt.NDArray[np.float32]:
        """The mean of the last hidden states of each text (n, width)."""
        need_fit(self.net, "language")
        found = []
        with torch.inference_mode():
            for rows in torch.split(self._tokens(_texts(data)), BLOCK):
                states = self.net(input_ids=rows, output_hidden_states=True).hidden_states[-1]
                kept = (rows != PAD).unsqueeze(2)
                found.append(((states * kept).sum(dim=1) / kept.sum(dim=1)).float().cpu())
        return torch.cat(found).numpy()

    def _losses(self, rows: Tensor) -> Tensor:
        """The mean loss of each text over its tokens (n,)."""
        logits, targets = self.net(input_ids=rows[:, :-1]).logits, rows[:, 1:]
        each = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=PAD)
        return each.sum(dim=1) / _lengths(rows)

    def _tokens(self, texts: list[str]) -> Tensor:
        """Begin, tokens, end, and padding behind it (n, context + 1)."""
        rows = torch.full((len(texts), self.context + 1), PAD)
        for row, found in zip(rows, self.tokenizer.encode_batch(texts), strict=True):
            ids = [BEGIN, *found.ids, BEGIN][: self.context + 1]
            row[: len(ids)] = torch.tensor(ids)
        return rows.to(self.device)

    def _made(self) -> Any:
        """The transformer, with random weights."""
        from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

        ends: dict[str, Any] = {"vocab_size": self.tokenizer.get_vocab_size(), "bos_token_id": BEGIN, "eos_token_id": BEGIN}
        if self.kind == "gpt2":
            shape: dict[str, Any] = {"n_embd": self.width, "n_layer": self.layers, "n_head": self.heads}
            calm: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
            return GPT2LMHeadModel(GPT2Config(n_positions=self.context + 1, **shape, **calm, **ends))
        shape = {"hidden_size": self.width, "num_hidden_layers": self.layers, "num_attention_heads": self.heads}
        long: dict[str, Any] = {"intermediate_size": 8 * self.width // 3, "max_position_embeddings": self.context + 1}
        return LlamaForCausalLM(LlamaConfig(**shape, **long, **ends))


def _lengths(rows: Tensor) -> Tensor:
    """Tokens of each text that have a loss, its end included (n,)."""
    return (rows[:, 1:] != PAD).sum(dim=1)


def _texts(data: Columns) -> list[str]:
    if "text" not in data:
        raise DataError(f"generator 'language' needs a column 'text'; got {', '.join(data)}. Take a text file as data.")
    return [str(text) for text in data["text"]]
