"""The tables [content.NAME] and [users.NAME]: what is known of items and users."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from recsys.config.section import Section

__all__ = ["AttributeConfig", "ContentConfig", "EncoderOptions", "FinetuneConfig"]


class EncoderOptions(Section):
    """Settings of an encoder; absent: its own choice. `recsys encoders` says which it obeys."""

    tokenizer: Literal["words", "whitespace", "chinese"] | None = None
    lower_case: bool | None = None
    stop_words: str | None = None  # a language: "english", "de"; these words are left out
    pooling: (
        Literal["mean", "max", "min", "tf-idf", "sif", "cls", "last", "pooler", "static"] | None
    ) = None  # of words, tokens, or the windows of a sound
    unknown: Literal["skip", "zero", "random", "ngrams", "context"] | None = None  # words
    width: int | None = Field(default=None, ge=1, le=4096)  # of vectors that are learnt here
    window: int | None = Field(
        default=None, ge=1, le=1_000
    )  # words on each side that count as context
    epochs: int | None = Field(default=None, ge=1)  # of what is learnt here
    seed: int | None = Field(default=None, ge=0, lt=2**31)


class FinetuneConfig(Section):
    """How the last layers of a text encoder learn together with the towers."""

    layers: int = Field(default=0, ge=0, le=48)  # that learn; 0: the encoder stays as it is
    learning_rate: float = Field(default=2e-5, gt=0)  # peak; rises and falls as that of training
    items: int = Field(default=64, ge=1)  # that a step encodes anew, out of those of its batch


class ContentConfig(Section):
    """One kind of content of items: columns through an encoder, or vectors as they are."""

    columns: tuple[str, ...] = ()
    encoder: str | None = None  # `recsys encoders` lists all
    options: EncoderOptions = EncoderOptions()
    folder: Path | None = None  # of images and sounds; absent: the folder of the items' file
    reduce: Literal["pca", "random"] | None = None  # to ``dim``, fitted on the training items
    dim: int | None = Field(default=None, ge=1, le=4096)
    precision: Literal["float32", "float16"] = "float32"  # of the vectors in the store
    workers: int | None = Field(
        default=None, ge=0
    )  # processes that decode files; absent: as many as there are cores, 0 for few files
    finetune: FinetuneConfig = FinetuneConfig()
    vectors: Path | None = None  # .npy (n, d), or parquet with an id and a list column
    ids: str | None = None  # a file; "items": row i = row i of items; "row": the number is the id
    missing: Literal["nan", "zero"] = "nan"  # how the vector file marks an absent item

    @model_validator(mode="after")
    def _one_way(self) -> "ContentConfig":
        if (self.encoder is None) == (self.vectors is None):
            raise ValueError("give either columns and encoder, or vectors")
        if self.encoder is not None and not self.columns:
            raise ValueError(f"encoder = {self.encoder!r} needs columns = [...]")
        if (self.reduce is None) != (self.dim is None):
            raise ValueError('reduce = "pca" (or "random") and dim = NUMBER go together')
        if self.vectors is not None:
            useless = {"columns", "options", "folder", "precision", "workers", "finetune"}
            given = sorted(useless & self.model_fields_set)
            if given:
                raise ValueError(f"vectors = FILE does not go with {', '.join(given)}")
        if self.finetune.layers and self.reduce is not None:
            raise ValueError(f'finetune.layers does not go with reduce = "{self.reduce}"')
        if self.finetune.layers and self.options.pooling in ("static", "pooler"):
            raise ValueError(f'finetune.layers does not go with pooling = "{self.options.pooling}"')
        return self


class AttributeConfig(Section):
    """Some of what is known of users: columns of ``data.users`` through an encoder."""

    columns: tuple[str, ...] = Field(min_length=1)
    encoder: Literal["categories", "numbers"]
