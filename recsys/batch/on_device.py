"""Exact search with torch, on a GPU: proposals in float32, the last word as everywhere else."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.index.exact import ExactIndex, exact_top_k
from recsys.index.topk import TopK, blank_top_k, check_request, top_k_of_found
from recsys.index.vectors import Vectors, cosines_of_pairs, float32_error, unit_vectors

__all__ = ["DeviceIndex"]

SCORES = 1 << 27  # held on the device at a time: half a gigabyte
SPARE = 32  # fetched beyond k, so that rounding does not hide one of the best


@dataclass(frozen=True, eq=False, repr=False)
class DeviceIndex(ExactIndex):
    """`ExactIndex` with its products on a device; the answers are the same to the last bit.

    Products in float32 propose ``k + SPARE`` items, which are ranked by their cosines in double.
    Where an item that was not proposed could still be among the best, for what float32 may be off
    by, exact search answers.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k items of highest cosine of each query; see ``Index.query``."""
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        check_request(len(queries), len(self), k, exclude, candidates)
        barred = None if candidates is None else torch.from_numpy(~candidates).to(self.device)
        found = blank_top_k(len(queries), k)
        step = max(1, SCORES // len(self))
        for start in range(0, len(queries), step):
            rows = np.arange(start, min(start + step, len(queries)))
            removed = None if exclude is None else exclude.take(rows)
            block, unsure = self._block(queries[rows], k, removed, barred)
            found.items[rows], found.scores[rows] = block
            again = rows[unsure]
            if len(again):
                found.items[again], found.scores[again] = exact_top_k(
                    self.vectors,
                    queries[again],
                    k,
                    exclude=None if exclude is None else exclude.take(again),
                    candidates=candidates,
                )
        return found

    def _block(
        self, queries: Vectors, k: int, exclude: Ragged | None, barred: Tensor | None
    ) -> tuple[TopK, NDArray[np.intp]]:
        """The answers to a few queries, and those of them that are not certain."""
        scores = torch.from_numpy(queries).to(self.device) @ self._on_device.T
        if barred is not None:
            scores[:, barred] = -torch.inf
        if exclude is not None:
            rows = torch.from_numpy(exclude.row_numbers).to(self.device)
            scores[rows, torch.from_numpy(exclude.values).to(self.device).long()] = -torch.inf
        fetch = min(len(self), k + SPARE)
        best = torch.topk(scores, fetch, dim=1, sorted=True)
        values, items = best.values.cpu().numpy(), best.indices.cpu().numpy()
        asked, places = np.nonzero(np.isfinite(values))
        chosen = items[asked, places].astype(np.int32)
        exact = cosines_of_pairs(queries, self.vectors, asked, chosen)
        found = top_k_of_found(asked, chosen, exact, len(queries), k)
        if fetch == len(self):
            return found, np.array([], dtype=np.intp)
        off = 2 * float32_error(self.vectors.shape[1])
        return found, np.flatnonzero(found.scores[:, -1] <= values[:, -1] + off)

    @cached_property
    def _on_device(self) -> Tensor:
        """The item vectors, float32 ``(n_items, dim)``."""
        return torch.from_numpy(np.array(self.vectors)).to(self.device)
