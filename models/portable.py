"""The joint model as programs that need torch alone: physical values in, physical quantiles and their split out.

Inputs are named tensors; NaN stands for what is not known. Shape suffixes: B window, C context step, L lead, J coarse mean,
K history summary, N node, V variable, F forecast variable, Q quantile, P part.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.batch import OLDEST_RUN, Around, Batch, Context, anchor_of, base_of, context_of, unit_of
from models.documents import Documents
from models.joint import JointModel
from models.portable_documents import MEANING as DOCUMENTS
from models.portable_documents import document_inputs, documents_from
from models.prediction import bounds_of
from models.shapes import DomainShape, TextShape
from pipeline.contracts.forecasts import PARTS, TEXT_PREFIX
from pipeline.contracts.windows import WindowSet

Inputs = dict[str, Tensor]

MEANING = {
    "context": "(B, C, N, V) the newest steps, oldest first",
    "seconds": "(B, C) int64, from each step of the context to the issue time",
    "coarse": "(B, J, N, V) means over the longer past, newest first",
    "history": "(B, L, N, V, K) summaries of the same season before each target",
    "time_of_day": "(B,) int64, slot of the day of the first target, local time",
    "day_of_week": "(B,) int64, 0 = Monday",
    "ahead": "(B, L, N, F) what others had forecast for the targets",
    "ahead_age": "(B,) seconds since that run began",
} | DOCUMENTS
"""Of every input; those of another domain, and of a stream of documents, are named `context of DOMAIN`, `tokens of text_STREAM`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """One domain's forecast as a program.

    Attributes:
        program: What `torch.export.load` reads; it is called with the inputs in the order of `inputs`.
        inputs, outputs: An example, by name: quantiles (B, L, N, V, Q) and split (B, L, N, V, P).
        interface: What each input and output is, JSON-able.
    """

    program: bytes
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[np.float32]]
    interface: dict[str, Any]


class Portable(nn.Module):
    """A domain's models over plain tensors.

    Args:
        domain: The leading domain.
        members: Its models.
        shapes: Of every domain.
        texts: Of every stream of documents.
        bounds_2G: Lower and upper bound of each target.
    """

    def __init__(
        self,
        domain: str,
        members: list[JointModel],
        shapes: Mapping[str, DomainShape],
        texts: Mapping[str, TextShape],
        bounds_2G: Tensor,
    ) -> None:
        super().__init__()
        self.domain, self.shapes = domain, shapes
        self.texts = {k: (texts[k].reach, members[0].text_rows(k)) for k in members[0].streams(domain)}
        self.members = nn.ModuleList(_without_empty(copy.deepcopy(m)) for m in members)
        for member in self.members:
            net: Any = member
            net.net(domain).temporal.plain = True
        self.others = tuple(k for k in members[0].others(domain))
        self.register_buffer("bounds", bounds_2G)
        for k in (domain, *self.others):
            for part in ("center_NV", "scale_NV", "relative_NV", "usual_NV"):
                self.register_buffer(f"{part} {k}".replace(" ", "_"), torch.from_numpy(np.array(getattr(shapes[k], part))))
        if shapes[domain].future:
            self.register_buffer("future", torch.from_numpy(np.array(shapes[domain].future_2F)))

    def forward(self, given: Inputs) -> tuple[Tensor, Tensor]:
        """Quantiles (B, L, N, V, Q) and split (B, L, N, V, P) of the targets."""
        shape, own = self.shapes[self.domain], self.domain
        context = self._context(own, given["context"], given["seconds"])
        coarse, coarse_good = self._scaled(own, given["coarse"])
        history, history_good = self._scaled(own, given["history"].movedim(-1, 1))
        history, history_good = history.movedim(1, -1), history_good.movedim(1, -1)
        base = base_of(context.last_BNV, context.has_BNV, coarse, coarse_good, self._of(own, "usual_NV"))
        ahead, ahead_B = self._ahead(given) if shape.future else (None, None)
        batch = Batch(
            context=context,
            history_BLNVK=history,
            history_good_BLNVK=history_good,
            coarse_BJNV=coarse,
            coarse_good_BJNV=coarse_good,
            base_BNV=base,
            anchor_BLNV=anchor_of(base, history, history_good, shape.anchor),
            unit_BNV=unit_of(base, self._of(own, "relative_NV")),
            time_of_day_B=given["time_of_day"],
            day_of_week_B=given["day_of_week"],
            issue_time_B=given["time_of_day"],
            y_BLNV=history.new_zeros(()),
            good_BLNV=history.new_zeros(()),
            ahead_BNLX=ahead,
            ahead_B=ahead_B,
        )
        contexts = {k: self._context(k, given[f"context of {k}"], given[f"seconds of {k}"]) for k in self.others}
        return self._physical(batch, Around(contexts=contexts, documents={k: self._documents(k, given) for k in self.texts}))

    def _physical(self, batch: Batch, around: Around) -> tuple[Tensor, Tensor]:
        """The mean of all members, in physical units and within the bounds."""
        targets = list(self.shapes[self.domain].targets)
        unit = batch.unit_BNV[:, None][..., targets]
        scale, center = (self._of(self.domain, part)[:, targets] for part in ("scale_NV", "center_NV"))
        spread = batch.time_of_day_B.shape[0]
        level, (lower, upper) = batch.anchor_BLNV[..., targets], self._buffer("bounds")
        quantiles, splits = [], []
        for member in self.members:
            change = member(self.domain, batch, around, {}, parts=True, spread_windows=spread)
            terms = torch.stack([level * scale + center, *(p.expand_as(level) * unit * scale for p in change.parts)], -1)
            kept = terms.double().cumsum(-1).clamp(lower[:, None], upper[:, None])
            away = change.away() * (unit * scale)[..., None]
            quantiles.append((kept[..., -1:].float() + away).clamp(lower[:, None], upper[:, None]))
            splits.append(kept.diff(dim=-1, prepend=torch.zeros_like(kept[..., :1])).float())
        return torch.stack(quantiles).mean(0), torch.stack(splits).mean(0)

    def _scaled(self, domain: str, physical: Tensor) -> tuple[Tensor, Tensor]:
        good = ~physical.isnan()
        scaled = (physical - self._of(domain, "center_NV")) / self._of(domain, "scale_NV")
        return torch.where(good, scaled, 0.0), good

    def _context(self, domain: str, physical: Tensor, seconds: Tensor) -> Context:
        values, seen = self._scaled(domain, physical)
        return context_of(values, seen, seconds, self.shapes[domain].step_seconds)

    def _ahead(self, given: Inputs) -> tuple[Tensor, Tensor]:
        shape, (center, scale) = self.shapes[self.domain], self._buffer("future")
        good = ~given["ahead"].isnan()
        x = torch.where(good, (given["ahead"] - center) / scale, 0.0)
        age = (given["ahead_age"].float() / (shape.step_seconds * shape.horizon)).nan_to_num(OLDEST_RUN).clamp(0, OLDEST_RUN)
        age = age[:, None, None, None].expand(*x.shape[:-1], 1)
        return torch.cat([x, good.float(), age], -1).transpose(1, 2), good.flatten(1).any(1)

    def _documents(self, stream: str, given: Inputs) -> Documents:
        reach, rows = self.texts[stream]
        own = {name: given[key] for name in DOCUMENTS if (key := f"{name} of {TEXT_PREFIX}{stream}") in given}
        return documents_from(own, reach=reach, rows=rows, nodes=len(self.shapes[self.domain].node_ids))

    def _of(self, domain: str, part: str) -> Tensor:
        return self._buffer(f"{part}_{domain}")

    def _buffer(self, name: str) -> Tensor:
        found: Tensor = getattr(self, name)
        return found


def _without_empty(model: JointModel) -> JointModel:
    """The model without weights of no element, such as those of no modality: a program cannot hold them."""
    for module in model.modules():
        empty = [name for name, own in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)) if not own.numel()]
        for name in empty:
            delattr(module, name)
    return model


def program_of(
    domain: str,
    members: list[JointModel],
    shapes: Mapping[str, DomainShape],
    texts: Mapping[str, TextShape],
    windows: WindowSet,
    given: Inputs,
) -> Program:
    """The program of one domain, traced with these inputs of some windows; the numbers of windows and of documents stay free."""
    view = windows.domains[domain]
    targets = list(view.targets)
    bounds = torch.from_numpy(bounds_of(view))
    portable = Portable(domain, members, shapes, texts, bounds).eval().requires_grad_(False)
    twice = {name: torch.cat([value, value]) if _axes(name)[0] == "windows" else value for name, value in given.items()}
    free = {axis: torch.export.Dim(axis, min=1 if axis == "windows" else 2) for name in twice for axis in _axes(name) if axis}
    shaped = {name: {k: free[axis] for k, axis in enumerate(_axes(name)) if axis} for name in twice}
    with torch.no_grad():
        program = torch.export.export(portable, (twice,), dynamic_shapes=(shaped,))
        quantiles, split = portable(given)
    written = io.BytesIO()
    torch.export.save(program, written)
    return Program(
        program=written.getvalue(),
        inputs={name: value.numpy() for name, value in given.items()},
        outputs={"quantiles": quantiles.numpy(), "split": split.numpy()},
        interface={
            "inputs": {name: {"shape": list(value.shape), "meaning": MEANING[name.split(" of ")[0]]} for name, value in given.items()},
            "variables": list(view.variables),
            "targets": [view.variables[v] for v in targets],
            "units": list(view.units),
            "node_ids": list(view.node_ids),
            "history": list(view.history_names),
            "ahead": list(shapes[domain].future),
            "parts": [*PARTS, *members[0].modalities(domain)],
            "streams": {k: {"reach": texts[k].reach, "buckets": texts[k].buckets} for k in members[0].streams(domain)},
            "other_domains": {
                k: {"variables": list(shapes[k].variables), "node_ids": list(shapes[k].node_ids)} for k in members[0].others(domain)
            },
        },
    )


def _axes(name: str) -> tuple[str, ...]:
    """The axes of an input whose sizes are free; no name for one of a fixed size."""
    what, _, stream = name.partition(f" of {TEXT_PREFIX}")
    documents, words, links = f"documents_{stream}", f"words_{stream}", f"links_{stream}"
    of_stream = {"tokens": (documents, words), "vector": (documents,), "place": (documents,), "age": ("windows", documents)}
    return (of_stream | {"links": ("", links), "weight": (links,)})[what] if stream else ("windows",)


def inputs_of(
    windows: WindowSet, domain: str, batch: Batch, around: Around, others: Mapping[str, int], texts: Mapping[str, TextShape]
) -> Inputs:
    """What the program of a domain is given for some windows: the same that was gathered, in physical units.

    Args:
        windows: The arrays that were gathered from.
        domain: The leading domain.
        batch: Its windows.
        around: What they see.
        others: Steps that are read of each other domain.
        texts: The streams of documents that the domain reads.
    """
    view = windows.domains[domain]
    issue = batch.issue_time_B
    given = {
        "context": _unscaled(windows, domain, batch.context.x_BCNV, batch.context.seen_BCNV),
        "seconds": seconds_before(windows, domain, issue, view.context),
        "coarse": _unscaled(windows, domain, batch.coarse_BJNV, batch.coarse_good_BJNV),
        "history": _unscaled(windows, domain, batch.history_BLNVK.movedim(-1, 1), batch.history_good_BLNVK.movedim(-1, 1))
        .movedim(1, -1)
        .contiguous(),
        "time_of_day": batch.time_of_day_B.clone(),
        "day_of_week": batch.day_of_week_B.clone(),
    }
    if view.future is not None and batch.ahead_BNLX is not None:
        f, x = len(view.future.variables), batch.ahead_BNLX.transpose(1, 2)
        center, scale = (torch.from_numpy(np.array(a)) for a in (view.future.scaler.center_NV, view.future.scaler.scale_NV))
        good, age = x[..., f : 2 * f] > 0, x[:, 0, 0, -1] * (view.step_seconds * view.horizon)
        given["ahead"] = torch.where(good, x[..., :f] * scale + center, torch.nan)
        given["ahead_age"] = torch.where(good.flatten(1).any(1), age, torch.nan)
    for k, steps in others.items():
        other = windows.domains[k]
        none = torch.full((len(issue), steps, len(other.node_ids), len(other.variables)), torch.nan)
        context = around.contexts.get(k)
        given[f"context of {k}"] = none if context is None else _unscaled(windows, k, context.x_BCNV, context.seen_BCNV)
        given[f"seconds of {k}"] = seconds_before(windows, k, issue, steps)
    for k, shape in texts.items():
        said = document_inputs(around.documents.get(k), len(issue), shape.reach, shape.width)
        given |= {f"{name} of {TEXT_PREFIX}{k}": value for name, value in said.items()}
    return given


def seconds_before(windows: WindowSet, domain: str, issue_B: Tensor, steps: int) -> Tensor:
    """(B, C) seconds from each of the newest steps at or before the issue times."""
    times = windows.domains[domain].valid_time_T
    end = np.searchsorted(times, issue_B.numpy(), side="right") - 1
    step = np.clip(end[:, None] + np.arange(1 - steps, 1), 0, None)
    return issue_B[:, None] - torch.from_numpy(times[step].astype(np.int64))


def _unscaled(windows: WindowSet, domain: str, scaled: Tensor, good: Tensor) -> Tensor:
    scaler = windows.domains[domain].scaler
    center, scale = (torch.from_numpy(np.array(a)) for a in (scaler.center_NV, scaler.scale_NV))
    return torch.where(good, scaled * scale + center, torch.nan)
