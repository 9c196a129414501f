"""The text encoders by name."""

from collections.abc import Mapping

from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted

__all__ = ["TEXT_ENCODERS"]


def _sentence(wanted: Wanted) -> Encoder[str | None]:
    from recsys.content.text.sentence import sentence_encoder

    return sentence_encoder(wanted.model, wanted.device)


TEXT_ENCODERS: Mapping[str, EncoderFamily] = {
    "sbert": EncoderFamily(
        usage="sbert:MODEL",
        modality="text",
        description="sentence-transformers: a listed model, a folder, or a name on the hub",
        paper="Reimers and Gurevych, 2019",
        make=_sentence,
        models=(Listed("all-MiniLM-L6-v2", 384, "all-MiniLM-L6-v2"),),
    ),
}
