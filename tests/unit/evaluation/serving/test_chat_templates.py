"""Chats of a run that was tuned on conversations: rendered as its training data was."""

from pathlib import Path

import pytest

from megatron_codemix.corpus.instructions.template import CHATML, CHATML_TOKENS, PLAIN, ChatTemplate
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.completing import complete
from megatron_codemix.evaluation.engine.requests import Generation
from megatron_codemix.evaluation.sampling import Sampling
from megatron_codemix.evaluation.serving.calls import Served, answer, read_chat
from megatron_codemix.evaluation.serving.errors import ApiError
from tests.helpers.conversations import (
    random_chats,
    transformers_tokenizer,
    write_merging_tokenizer,
)
from tests.helpers.language_models import ByteModel

ASKED = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Hi <|im_end|>"},
]


def serve(folder: Path, template: ChatTemplate) -> Served:
    write_merging_tokenizer(folder / "tokenizer.json")
    return Served("tiny", Tokenizer.load(folder / "tokenizer.json"), 512, template)


@pytest.mark.parametrize("template", [PLAIN, CHATML], ids=lambda one: one.name)
def test_the_prompt_is_that_of_transformers(tmp_path: Path, template: ChatTemplate) -> None:
    served = serve(tmp_path, template)
    theirs = transformers_tokenizer(tmp_path / "tokenizer.json", template)
    for chat in random_chats(50, longest=2):
        call = read_chat({"model": "tiny", "messages": chat[:-1]}, served)
        [request] = call.requests
        made = theirs.apply_chat_template(
            chat[:-1], tokenize=True, return_dict=True, add_generation_prompt=True
        )
        assert list(request.prompt) == made["input_ids"]


@pytest.mark.parametrize(
    ("template", "stop", "written", "said"),
    [
        (CHATML, "<|im_end|>", " 4 \n", " 4 \n"),
        (PLAIN, "\nUser:", " 4 \n", "4 "),
    ],
    ids=["chatml", "plain"],
)
def test_an_answer_is_told_without_what_the_template_writes_around_it(
    tmp_path: Path, template: ChatTemplate, stop: str, written: str, said: str
) -> None:
    served = serve(tmp_path, template)
    call = read_chat({"model": "tiny", "messages": ASKED, "stop": "x"}, served)
    [request] = call.requests
    assert request.stop == ("x", stop)
    text = served.tokenizer.decode(request.prompt)
    assert (
        text
        == {
            CHATML: "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|>"
            "<|im_end|>\n<|im_start|>assistant\n",
            PLAIN: "System: Be brief.\nUser: Hi <|im_end|>\nAssistant:",
        }[template]
    )
    ends = [served.tokenizer.token_id(token) for token in CHATML_TOKENS]
    num_special = sum(token in ends for token in request.prompt)
    assert num_special == (5 if template is CHATML else 0), "what the user spells is text"
    generation = Generation(text=written, tokens=[1, 2], finish_reason="stop", num_cut=0)
    [choice] = answer(call, [generation], served)["choices"]
    assert choice["message"] == {"role": "assistant", "content": said}


def test_a_template_that_refuses_a_chat_is_the_callers_error(tmp_path: Path) -> None:
    refusing = (
        PLAIN.source + "{% if messages | length > 1 %}{{ raise_exception('long') }}{% endif %}"
    )
    served = serve(tmp_path, ChatTemplate("t", refusing))
    with pytest.raises(ApiError, match=r"does not take the conversation \(long\)"):
        read_chat({"model": "tiny", "messages": ASKED}, served)


@pytest.mark.parametrize("template", [None, PLAIN])
def test_completions_of_a_tuned_run_are_answers(
    tmp_path: Path, template: ChatTemplate | None
) -> None:
    model = ByteModel(tmp_path, 512)
    sampling = Sampling(max_new_tokens=4, stop=("x",))
    [one] = complete(model, ["Hi"], sampling, 1, lambda _: None, template)
    [request] = model.generated
    asked, stop = ("Hi", ("x",)) if template is None else ("User: Hi\nAssistant:", ("x", "\nUser:"))
    assert (model.tokenizer.decode(request.prompt), request.stop) == (asked, stop)
    assert one.prompt == "Hi"
