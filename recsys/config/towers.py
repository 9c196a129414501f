"""The table [towers]: their shape."""

from typing import Any, Literal

from pydantic import Field, model_validator

from recsys.config.section import Section

__all__ = ["HistoryEncoder", "TowersConfig"]

HistoryEncoder = Literal["means", "attention", "gru", "transformer"]


class TowersConfig(Section):
    """The two towers; both end in unit vectors."""

    dim: int = Field(default=128, ge=2, le=4096)  # of a vector: all members together
    nested: tuple[int, ...] = ()  # widths of which vectors must be good as well, when cut: one
    # training for several index.dim, of whole vectors' members alike
    members: int = Field(default=2, ge=1)  # independent models side by side in a vector
    encoder: tuple[HistoryEncoder, ...] = ("means",)  # of the history: for all members, or each
    history: int = Field(default=100, ge=1)  # how many of the last items the user tower reads
    history_items: Literal["own", "shared"] = "own"  # a past item's vector: its own table's, or
    # the item tower's, which knows content too
    speeds: int = Field(default=4, ge=1)  # means of the history, each with a rate of forgetting
    layers: int = Field(default=2, ge=1)  # of the transformer or the GRU
    heads: int = Field(default=2, ge=1)  # of attention, in each member
    time_gaps: bool = False  # the transformer's attention also looks at the time between items
    dropout: float = Field(default=0.2, ge=0, lt=1)  # inside the transformer or the GRU
    history_dropout: float = Field(default=0.2, ge=0, lt=1)  # of the vectors of past items
    item_dropout: float = Field(default=0.2, ge=0, lt=1)  # of past items as a whole
    user_id: bool = False  # a learned vector a user, beside the history
    fusion: Literal["sum", "mlp", "gated", "product", "attention"] = "sum"  # of id and contents
    content_dropout: float = Field(default=0.0, ge=0, lt=1)  # in training, of an item's contents
    id_dropout: float = Field(default=0.0, ge=0, lt=1)  # likewise; it looks new then
    attribute_dropout: float = Field(
        default=0.2, ge=0, lt=1
    )  # of each of [users.NAME], for a user as a whole
    temperature: float = Field(default=0.1, ge=0.01)  # at first; it is learnt, never below 0.01
    learn_temperature: bool = True  # false: it stays. With loss = "bpr" take false and 0.2: against
    # single negatives a sharp temperature parts the training rows at once and no others

    @model_validator(mode="before")
    @classmethod
    def _one_encoder_or_many(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("encoder"), str):
            return {**values, "encoder": (values["encoder"],)}
        return values

    @model_validator(mode="after")
    def _equal_members(self) -> "TowersConfig":
        if len(self.encoder) not in (1, self.members):
            raise ValueError(
                f"encoder names {len(self.encoder)} encoders for members = {self.members}; give "
                "one for all, or one for each"
            )
        if self.dim % self.members or self.dim < 2 * self.members:
            raise ValueError(
                f"dim = {self.dim} cannot be cut into members = {self.members} parts of equal "
                "width, at least 2"
            )
        for width in self.nested:
            if width > self.dim or width % self.members or width < 2 * self.members:
                raise ValueError(
                    f"nested = {list(self.nested)}: expected multiples of members = {self.members} "
                    f"from {2 * self.members} to dim = {self.dim}"
                )
        if self.time_gaps and "transformer" not in self.encoder:
            raise ValueError(
                f"time_gaps = true needs a transformer, got encoder = {list(self.encoder)}; the "
                "other encoders know the order of a history only"
            )
        width = self.dim // self.members
        if "transformer" in self.encoder and width % self.heads:
            raise ValueError(
                f"heads = {self.heads} of a transformer cannot share a width of {width} (dim / "
                "members) evenly"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Of vectors that are learnt from: the whole, and what it may be cut to; ascending."""
        return tuple(sorted({*self.nested, self.dim}))

    @property
    def encoders(self) -> tuple[HistoryEncoder, ...]:
        """The encoder of each member."""
        return self.encoder * (self.members if len(self.encoder) == 1 else 1)
