"""What a safety measurement may be asked to do."""

from dataclasses import dataclass, replace

from megatron_codemix.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SafetyOptions:
    """Amounts and seeds. Each answer is a function of these and of the model."""

    seed: int = 0
    """Of completions and generations, and of which documents are looked at."""
    num_prompts: int | None = None
    """Weaknesses: prompts that are completed, one of each class first; None: all."""
    completions_per_prompt: int = 5
    completion_tokens: int = 256
    """Most new tokens of a completion."""
    temperature: float = 0.8
    """Of completions; as is usual where several are drawn."""
    top_p: float = 0.95
    """Of completions."""
    workers: int = 2
    """Completions that are run at one time."""
    unsafe: bool = False
    """Run completions where this machine cannot isolate them: with this user's files."""
    prefix_tokens: int = 50
    """Memory: tokens of a document that are shown."""
    continuation_tokens: int = 50
    """Memory: tokens that must follow."""
    documents_per_source: int = 200
    """Memory: trained on and, as many, held out."""
    open_generations: int = 200
    """Secrets: half of them after nothing at all."""
    generation_tokens: int = 256
    """Secrets: most new tokens of a generation."""

    def __post_init__(self) -> None:
        """Raises ConfigError with all problems."""
        problems = [
            f"safety option {name} is {getattr(self, name)}; it must be above 0"
            for name in _POSITIVE
            if not getattr(self, name) > 0
        ]
        if self.num_prompts is not None and self.num_prompts < 1:
            problems.append(f"safety option num_prompts is {self.num_prompts}; it must be above 0")
        if problems:
            raise ConfigError(problems)

    def limited(self, items: int) -> "SafetyOptions":
        """The same with at most so many prompts, documents of a source and generations."""
        return replace(
            self,
            num_prompts=items if self.num_prompts is None else min(items, self.num_prompts),
            documents_per_source=min(items, self.documents_per_source),
            open_generations=min(items, self.open_generations),
        )


_POSITIVE = (
    "completions_per_prompt",
    "completion_tokens",
    "temperature",
    "top_p",
    "workers",
    "prefix_tokens",
    "continuation_tokens",
    "documents_per_source",
    "open_generations",
    "generation_tokens",
)
