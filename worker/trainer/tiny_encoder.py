"""The base model ``tiny-encoder``: a BERT of 0.5 million random weights that makes embeddings. Deterministic."""

from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel

from worker.trainer.tiny import write_tokenizer
from worker.trainer.tiny_encoder_tokenizer import CONTEXT_LENGTH, PAD, VOCABULARY, tiny_encoder_tokenizer

_SEED = 20250301
_SPREAD = 0.05


def make_tiny_encoder(folder: Path) -> None:
    """Write the model into an empty folder, as sentence-transformers loads it: the mean of its outputs."""
    write_tokenizer(tiny_encoder_tokenizer(), folder)
    _model().save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=CONTEXT_LENGTH)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    # It was written anew, by whatever version of the library.
    write_tokenizer(tiny_encoder_tokenizer(), folder)


def _model() -> BertModel:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=CONTEXT_LENGTH,
        pad_token_id=PAD,
    )
    model = BertModel(config)
    generator = np.random.Generator(np.random.PCG64(_SEED))
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if name.endswith("bias"):
                weight.zero_()
            elif "LayerNorm" in name:
                weight.fill_(1.0)
            else:
                drawn = generator.standard_normal(weight.shape) * _SPREAD
                weight.copy_(torch.from_numpy(drawn.astype(np.float32)))
    return model
