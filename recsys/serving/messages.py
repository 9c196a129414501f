"""What clients may ask and what they get, as pydantic models: the OpenAPI is made of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from recsys.recommenders.expression import LONGEST
from recsys.serving.answers import DEFAULT_K, LARGEST_K

__all__ = [
    "Failure",
    "Found",
    "Health",
    "Id",
    "K",
    "Recommend",
    "Recommended",
    "Similar",
    "Why",
]

LONGEST_HISTORY = 10_000  # items
LONGEST_LIST = 100_000  # items of exclude or candidates
INT64 = 2**63

Number = Annotated[int, Field(strict=True, ge=-INT64, lt=INT64)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1_000)]
Id = Text | Number
K = Annotated[int, Field(strict=True, ge=1, le=LARGEST_K)]
Value = (
    Annotated[str, StringConstraints(strict=True, max_length=10_000)]
    | Annotated[int, Field(strict=True, ge=-INT64, lt=INT64)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | StrictBool
    | None
)


class _Message(BaseModel):
    """An unknown key is an error, as in the config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recommend(_Message):
    """Who asks: a known user, or somebody new by ``history`` and ``attributes``."""

    user_id: Id | None = Field(None, description="A known user; or else tell of somebody new:")
    history: list[Id] | None = Field(
        None, max_length=LONGEST_HISTORY, description="Item ids of somebody new, oldest first."
    )
    attributes: dict[str, Value] | None = Field(
        None, max_length=100, description="What else is known of somebody new."
    )
    k: K = Field(DEFAULT_K, description="How many items.")
    exclude_seen: bool = Field(True, strict=True, description="Leave out the history.")
    exclude: list[Id] = Field(default=[], max_length=LONGEST_LIST, description="Not these items.")
    candidates: list[Id] | None = Field(
        None, max_length=LONGEST_LIST, description="Only these items."
    )
    where: str | None = Field(
        None,
        strict=True,
        min_length=1,
        max_length=LONGEST,
        description="Only items that meet a condition over the catalogue, such as "
        "\"in_stock and price < 20 and 'Drama' in genres\".",
    )
    new_items: bool = Field(
        False, strict=True, description="Also items that nobody had taken when it was learnt."
    )


class Why(_Message):
    """Why a user gets an item."""

    user_id: Id
    item_id: Id
    past: list[Id] | None = Field(
        None, max_length=100, description="Items of the history to leave out, one by one."
    )
    k: K = Field(DEFAULT_K, description="How many items of the history are told.")


class Found(BaseModel):
    """An item of an answer."""

    rank: int
    item_id: Id
    title: str
    score: float


class Similar(BaseModel):
    """Items near to an item or a text."""

    bundle: str = Field(description="The digest of the bundle that answered.")
    items: list[Found]


class Recommended(Similar):
    """What a user gets."""

    user_id: Id | None


class Failure(BaseModel):
    """What was wrong, in one line; ``fields`` names the parts of a request that cannot be."""

    error: str
    fields: dict[str, str] | None = None


class Health(BaseModel):
    """What is being served."""

    status: str
    bundle: str
    name: str
    made: str
    versions: dict[str, str]
    counts: dict[str, int]
    search: bool
    changes: dict[str, int] = Field(description="Of the items since the bundle was made.")
