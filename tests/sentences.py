"""A small sentence encoder, made as large ones are: a transformer, its words, and the mean over them."""

from __future__ import annotations

from pathlib import Path

WORDS = ("rain", "sun", "jam", "closed", "open", "again", "strøget", "gold", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH = 16


def save_encoder(folder: Path) -> Path:
    """An untrained encoder in `folder`, the same bytes each time."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    inner = folder.parent / f"{folder.name}-transformer"
    inner.mkdir(parents=True)
    (inner / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        BertModel(config).save_pretrained(inner)
    BertTokenizerFast(vocab=str(inner / "vocab.txt")).save_pretrained(inner)
    SentenceTransformer(modules=[Transformer(str(inner)), Pooling(WIDTH)], device="cpu").save(str(folder))
    return folder
