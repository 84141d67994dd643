"""Manual pages to plain text, in pure Python: enough for prose, not a formatter."""

import re

_ESCAPES = [
    (re.compile(r"\\f(\[[^\]]*\]|\(..|.)"), ""),  # fonts
    (re.compile(r"\\s[+-]?\d"), ""),  # sizes
    (re.compile(r"\\(?:\(lq|\(rq|\[lq\]|\[rq\]|\(dq|\*\(lq|\*\(rq|\*\(L\"|\*\(R\")"), '"'),
    (re.compile(r"\\(?:\(aq|\[aq\]|\(cq|\(oq|\[cq\]|\[oq\]|')"), "'"),
    (re.compile(r"\\(?:\(bu|\[bu\])"), "*"),
    (re.compile(r"\\(?:\(em|\[em\]|\(en|\[en\]|\(hy|\(mi|-)"), "-"),
    (re.compile(r"\\[|&^/,:%)cdu]"), ""),
    (re.compile(r"\\[ ~0]"), " "),
    (re.compile(r"\\(?:\*?\(..|\*?\[[^\]]*\]|\*.)"), ""),  # other glyphs and strings
    (re.compile(r"\\e"), r"\\"),
]
_MACROS_WITH_TEXT = """
    B I R BI BR IB IR RB RI SM SB SH SS IP TP Sh Ss Nm Ar Fl Pa Ev Em Sy Xr Op Nd Dv Li Ql Dq Va Cm
    Sq Pq It
"""
_WITH_TEXT = frozenset(_MACROS_WITH_TEXT.split())
_SKIPPED_BLOCKS = {"TS": "TE", "EQ": "EN", "ig": "..", "de": "..", "nf": "fi"}


def roff_to_text(source: str) -> str:
    """Sections and paragraphs of a man or mdoc page; tables, equations and unfilled examples are
    left out.
    """
    lines: list[str] = []
    skip_until = ""
    for line in source.split("\n"):
        macro, arguments = _macro(line)
        if skip_until:
            if macro == skip_until or line.startswith(".."):
                skip_until = ""
        elif macro is None:
            lines.append(_plain(line))
        elif macro in _SKIPPED_BLOCKS:
            skip_until = _SKIPPED_BLOCKS[macro]
        elif macro in ("SH", "SS", "Sh", "Ss", "PP", "P", "LP", "Pp", "IP", "TP", "It"):
            lines.extend(["", _plain(arguments)])
        elif macro in _WITH_TEXT:
            lines.append(_plain(arguments))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines))
    return text.strip()


def _macro(line: str) -> tuple[str | None, str]:
    if not line.startswith((".", "'")):
        return None, ""
    name, _, arguments = line[1:].strip().partition(" ")
    return name, re.sub(r'"([^"]*)"', r"\1", arguments)


def _plain(text: str) -> str:
    text = re.sub(r"\\\".*", "", text)  # comment
    for pattern, replacement in _ESCAPES:
        text = pattern.sub(replacement, text)
    return text
