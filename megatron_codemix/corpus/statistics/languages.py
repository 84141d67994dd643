"""Which language a document is in, natural or programming: both stand in the same field."""

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.policy import default_policy
from megatron_codemix.corpus.filters.programming_languages import (
    CODE_LANGUAGES,
    MARKUP_LANGUAGES,
    language_of_path,
    programming_language,
)

# Labels of fastText's lid.176 (ISO 639), which the rule `languages` writes into metadata; without
# `sh` and `io`, which more often stand for Shell and Io than for Serbo-Croatian and Ido.
_CODES = """
af am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb
ckb co cs cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom
gu gv he hi hif hr hsb ht hu hy ia id ie ilo is it ja jbo jv ka kk km kn ko krc ku kv kw
ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah
nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn
sco sd si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls
vo wa war wuu xal xmf yi yo yue zh
"""
_NATURAL = frozenset({*_CODES.split(), "als"})  # codespell:ignore als


def is_natural(language: str) -> bool:
    """Whether it is a natural language's code, such as `en`, or `eng_Latn` of other collections."""
    code, underscore, script = language.partition("_")
    return language in _NATURAL or (len(code) == 3 and len(script) == 4 and bool(underscore))


def languages_of(document: Document) -> tuple[str | None, str | None]:
    """(natural language, programming or markup language), None where nothing tells."""
    given = document.metadata.get("language")
    if isinstance(given, str) and is_natural(given):
        return given, language_of_path(document.path)
    return None, programming_language(document)


def expected_shares(source: str) -> dict[str, float] | None:
    """Percent of the documents of a source of this name by programming language, as the first paper
    has them (arXiv 2408.10914, tables of A.2 and A.3); None where it is no source of theirs."""
    return {"code": CODE_LANGUAGES, "markup": MARKUP_LANGUAGES}.get(default_policy(source) or "")
