"""Generation: prompts per second and equal texts, beside the harness's `hf`."""

from collections.abc import Iterator, Mapping
from typing import Any

from lm_eval.api.instance import Instance

from megatron_codemix.bench.evaluate.setting import Setting
from megatron_codemix.bench.evaluate.sides import Sides, load, with_both
from megatron_codemix.bench.rows import Goal, Row

_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""HumanEval's."""
_BATCH_SIZES = (8, 16, 32, 64)
"""Of the peer: with fewer rows a step costs it nearly the same."""
_MIN_RATIO = 1.0


def generations(setting: Setting) -> Iterator[Row]:
    """Greedy, to a given length and up to stop strings."""
    rows: list[Row] = []

    def body(sides: Sides) -> None:
        for name, stops in (("all new tokens", ()), ("with stop strings", _STOPS)):
            rows.extend(_compare(sides, name, stops, setting))

    with_both(setting, body)
    yield from rows


def _compare(sides: Sides, name: str, stops: tuple[str, ...], setting: Setting) -> Iterator[Row]:
    options = {"until": list(stops), "max_gen_toks": setting.max_new_tokens, "do_sample": False}
    prompts = setting.prompts()
    requests = [_request(number, prompt, options) for number, prompt in enumerate(prompts)]

    def ask(model: Any) -> list[str]:
        texts: list[str] = model.generate_until(requests, disable_tqdm=True)
        return texts

    found = sides.measure(ask, setting.repeats, _BATCH_SIZES)
    texts = list(zip(found.our_answer, found.peer_answer, strict=True))
    num_equal = sum(one == other for one, other in texts)
    count = len(requests)
    yield Row(
        name=f"generation, {name}",
        ours=count / found.ours.user,
        peer=count / found.peer.user,
        unit="prompts/s",
        is_rate=True,
        goal=Goal(ratio=_MIN_RATIO),
        note=f"user time, one thread, median of {setting.repeats}; at most "
        f"{setting.max_new_tokens} new tokens; {setting.items_note}; peer's best batch size: "
        f"{found.batch_size}; {load()}",
        ours_system_seconds=found.ours.system / count,
        peer_system_seconds=found.peer.system / count,
    )
    yield Row(
        name=f"generation, {name}: equal texts",
        ours=100 * num_equal / count,
        peer=None,
        unit="%",
        is_rate=True,
        note=f"of {count}; {sum(map(len, found.our_answer)) / count:.0f} characters on average",
    )


def _request(number: int, prompt: str, options: Mapping[str, Any]) -> Instance:
    return Instance("generate_until", doc={}, arguments=(prompt, dict(options)), idx=number)
