"""How far an approximate index looks, and what that was measured to find."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Calibration", "Effort"]


class Effort(BaseModel):
    """One way to search, measured with users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effort: int  # Annoy's search_k, or hnswlib's ef
    inspected: float  # share of the items that a query looks at, on average
    recall: float  # share of exact search's top k that is found


class Calibration(BaseModel):
    """What was chosen and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen: Effort  # measured with the askers that it was chosen with
    curve: tuple[Effort, ...] = ()  # with less effort, the chosen one at last
    k: int  # of the recall
    excluded: float  # items that each of those who measured was not to get, on average
    trees: int = 0  # of the forest
    distance: float = 0.0  # of `Space`; 0: by angles
    spread: float = 0.0  # of `Space`
