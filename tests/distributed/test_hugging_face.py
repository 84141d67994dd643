"""Models that were trained here compute in `transformers` what they compute here, and the other way
round: logits, greedy continuations, and tensors bit for bit after a round trip."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.run_checkpoints import final_checkpoint
from megatron_codemix.runs import RunDirectory
from tests.helpers.exported import COHERE, LLAMA, TIED, Case, export_last, trained
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import END_OF_DOCUMENT, VOCABULARY, write_run, write_tokenizer

TOLERANCE = 1e-4
"""Of logits with a standard deviation above 0.5, in fp32: the two sum in different orders."""

LENGTH = 32
NEW_TOKENS = 12

CUT = (("layout.tensor=2", "layout.pipeline=2"), 4)
CHUNKS = (("layout.pipeline=2", "layout.virtual_pipeline=2"), 4)
CASES = {
    "llama": Case("LlamaForCausalLM", LLAMA),
    "llama-tied-tp2-pp2": Case("LlamaForCausalLM", LLAMA | TIED, *CUT),
    "llama-mup-pp2-vpp2-dp2": Case(
        "LlamaForCausalLM", LLAMA | {"mup": {"base_hidden_size": 16}}, *CHUNKS
    ),
    "qwen3": Case("Qwen3ForCausalLM", LLAMA | {"qk_norm": True}),
    "cohere-tied-tp2-pp2": Case("CohereForCausalLM", COHERE | TIED, *CUT),
    "cohere-qk-norm": Case("CohereForCausalLM", COHERE | {"qk_norm": True}),
}


def outputs(
    context: RankContext, run: Path, tokens: np.ndarray, prompt: list[int]
) -> tuple[np.ndarray, list[int]]:
    """(logits [B, S, V], the most probable continuation of the prompt), by our model on one rank
    with the whole model computed anew for each token."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.config.loader import load_run_config
    from megatron_codemix.evaluation.layout import EvaluationLayout
    from megatron_codemix.evaluation.loading import load_model

    directory = RunDirectory(run)
    config = load_run_config(directory.config)
    folder, backend = final_checkpoint(directory), select_backend("cpu")
    model, _ = load_model(config, folder, EvaluationLayout(), backend)

    def logits(rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model(rows, torch.arange(rows.shape[1])[None], None)
        return found[..., : config.model.vocabulary_size].float()

    sequence = list(prompt)
    for _ in range(NEW_TOKENS):
        sequence.append(int(logits(torch.tensor([sequence]))[0, -1].argmax()))
    return logits(torch.from_numpy(tokens)).numpy(), sequence


def some_tokens() -> np.ndarray:
    return np.random.default_rng(5).integers(0, VOCABULARY, (2, LENGTH))


def require_equal(run: RunDirectory, folder: Path) -> None:
    """The run's model and that in the folder compute the same."""
    tokens, prompt = some_tokens(), [END_OF_DOCUMENT, 5, 77, 130]
    [(ours, continued)] = run_distributed(outputs, 1, run.path, tokens, prompt)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = model(torch.from_numpy(tokens)).logits.numpy()[..., : ours.shape[-1]]
        generated = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            pad_token_id=END_OF_DOCUMENT,
            suppress_tokens=list(range(VOCABULARY, model.config.vocab_size)) or None,
        )[0].tolist()
    assert theirs.std() > 0.5, "the weights make no difference"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    if END_OF_DOCUMENT in continued[1:]:  # there, generation ends
        continued = continued[: continued.index(END_OF_DOCUMENT, 1) + 1]
    assert continued == generated
    assert len(generated) > len(prompt) + 1


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    """By the library's own reader."""
    found: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        found |= safetensors.torch.load_file(path)
    return found


def import_on_rank(context: RankContext, folder: Path, config: Path, out: Path) -> None:
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.hugging_face.importing import import_into
    from megatron_codemix.hugging_face.source import prepare_import
    from megatron_codemix.mcore.groups import initialize_model_parallel

    run = RunDirectory(out)
    source = prepare_import(folder, config, [], run)
    parallel = initialize_model_parallel(LayoutConfig(), source.config.train.seed)
    import_into(run, source, parallel, select_backend("cpu"))


def imported(folder: Path, config: Path, out: Path) -> RunDirectory:
    run_distributed(import_on_rank, 1, folder, config, out)
    return RunDirectory(out)


@pytest.mark.parametrize("name", CASES)
def test_both_ways_compute_the_same(name: str, tmp_path: Path) -> None:
    """Logits and generation of the export, then every bit of what is exported after an import."""
    case = CASES[name]
    run = trained(tmp_path, case)
    first = export_last(run, tmp_path / "first", max_shard_bytes=50_000)
    assert len(list(first.glob("model-0000?-of-0000?.safetensors"))) > 1
    model = transformers.AutoModelForCausalLM.from_pretrained(first)
    assert type(model).__name__ == case.architecture
    assert model.config.vocab_size == VOCABULARY
    require_equal(run, first)
    if "mup" in case.model:  # its factor is in the weights, and was not before
        return
    again = imported(first, tmp_path / "run.yaml", tmp_path / "again")
    second = export_last(again, tmp_path / "second")
    one, other = tensors_in(first), tensors_in(second)
    assert sorted(one) == sorted(other)
    assert len(one) > 30
    for tensor in one:
        assert torch.equal(one[tensor], other[tensor]), tensor
    names = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    for file in names:
        assert (first / file).read_bytes() == (second / file).read_bytes()
    assert sorted(path.name for path in second.iterdir()) == sorted([*names, "model.safetensors"])


def test_number_formats_of_a_bf16_run(tmp_path: Path) -> None:
    """fp32 is the optimizer's master weights, bf16 what the run computes with."""
    run = trained(tmp_path, CASES["llama"], "precision.kind=bf16")
    exact = tensors_in(export_last(run, tmp_path / "exact"))
    short = tensors_in(export_last(run, tmp_path / "short", dtype="bfloat16"))
    assert {tensor.dtype for tensor in exact.values()} == {torch.float32}
    assert {tensor.dtype for tensor in short.values()} == {torch.bfloat16}
    assert any(not torch.equal(exact[name], short[name].float()) for name in exact)
    for name in exact:
        assert torch.equal(exact[name].bfloat16(), short[name]), name
    again = imported(tmp_path / "short", tmp_path / "run.yaml", tmp_path / "again")
    kept = tensors_in(export_last(again, tmp_path / "kept"))
    for name in short:
        assert torch.equal(kept[name], short[name]), name


LIBRARY = {
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "vocab_size": 300,
}
"""300: rows behind the tokenizer's 257 entries are padding there."""


@pytest.mark.parametrize(
    "config",
    [
        transformers.LlamaConfig(**LIBRARY, head_dim=16),
        transformers.MistralConfig(**LIBRARY, sliding_window=None, tie_word_embeddings=True),
        transformers.Qwen3Config(**LIBRARY, head_dim=12),
        transformers.CohereConfig(**LIBRARY, logit_scale=0.5, eos_token_id=2),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_of_transformers_computes_the_same_here(
    config: transformers.PreTrainedConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config.eos_token_id = END_OF_DOCUMENT
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn_like(weight))
    folder = tmp_path / "hf"
    model.save_pretrained(folder, max_shard_size="40KB")
    write_tokenizer(folder / "tokenizer.json")
    path = write_run(tmp_path / "data", model=None)
    run = imported(folder, path, tmp_path / "run")
    require_equal(run, folder)
