"""The programming or markup language of a document: from its metadata, else from its path."""

from functools import cached_property, lru_cache
from typing import ClassVar

from pydantic import Field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.rule import Drop, Kind, Rule, Verdict

# Shares of the documents in percent, as "To Code, or Not To Code?" has them (arXiv 2408.10914,
# sections A.2 and A.3).
CODE_LANGUAGES = {
    "java": 15.54, "javascript": 15.29, "php": 12.46, "python": 9.60, "c-sharp": 8.30,
    "typescript": 7.92, "c": 6.63, "cpp": 4.91, "go": 3.49, "ruby": 2.69, "shell": 1.82,
    "kotlin": 1.76, "swift": 1.52, "vue": 1.48, "rust": 1.00, "scala": 0.94, "jsx": 0.83,
    "sql": 0.74, "dart": 0.72, "makefile": 0.53, "lua": 0.47, "haskell": 0.45, "smalltalk": 0.43,
    "tex": 0.37, "clojure": 0.10,
}  # fmt: skip
MARKUP_LANGUAGES = {
    "markdown": 54.23, "yaml": 10.77, "json": 9.97, "html": 8.57, "css": 6.86, "scss": 5.84,
    "restructuredtext": 2.26, "toml": 1.25, "sass": 0.22, "rmarkdown": 0.02,
}  # fmt: skip

_BY_SUFFIX = {
    ".java": "java", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".php": "php", ".py": "python", ".pyi": "python", ".pyx": "cython", ".cs": "c-sharp",
    ".ts": "typescript", ".tsx": "tsx", ".c": "c", ".h": "c", ".cpp": "cpp", ".cc": "cpp",
    ".cxx": "cpp", ".hpp": "cpp", ".hh": "cpp", ".go": "go", ".rb": "ruby",
    ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".kt": "kotlin", ".kts": "kotlin",
    ".swift": "swift", ".vue": "vue", ".rs": "rust", ".scala": "scala", ".jsx": "jsx",
    ".sql": "sql", ".dart": "dart", ".mk": "makefile", ".lua": "lua", ".hs": "haskell",
    ".st": "smalltalk", ".tex": "tex", ".clj": "clojure", ".cljs": "clojure", ".r": "r",
    ".jl": "julia", ".pl": "perl", ".pm": "perl", ".m": "matlab", ".f90": "fortran",
    ".asm": "assembly", ".s": "assembly", ".wat": "webassembly", ".ml": "ocaml",
    ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".ps1": "powershell",
    ".bat": "batchfile", ".cmake": "cmake", ".md": "markdown", ".markdown": "markdown",
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".html": "html", ".htm": "html",
    ".xhtml": "html", ".css": "css", ".scss": "scss", ".sass": "sass",
    ".rst": "restructuredtext", ".toml": "toml", ".rmd": "rmarkdown", ".xml": "xml",
    ".svg": "svg", ".xsl": "xslt", ".xslt": "xslt", ".txt": "text", ".ipynb": "jupyter-notebook",
    ".1": "roff", ".2": "roff", ".3": "roff", ".5": "roff", ".7": "roff", ".8": "roff",
}  # fmt: skip
_BY_NAME = {"makefile": "makefile", "gnumakefile": "makefile", "dockerfile": "dockerfile",
            "cmakelists.txt": "cmake"}  # fmt: skip
# The Stack's and GitHub's names, where they differ from the papers'.
_ALIASES = {"c#": "c-sharp", "c++": "cpp", "f#": "f-sharp", "bash": "shell", "js": "javascript"}


def programming_language(document: Document) -> str | None:
    """Its name in the papers' spelling, such as `c-sharp`; None where neither tells."""
    given = document.metadata.get("language")
    if isinstance(given, str) and given:
        name = given.lower().replace(" ", "-")
        return _ALIASES.get(name, name)
    return language_of_path(document.path)


@lru_cache(maxsize=64)  # several rules ask for the same document
def language_of_path(path: str) -> str | None:
    """Its name by the name or suffix of the file; None where they do not tell."""
    name = path.rpartition("/")[2].lower()
    return _BY_NAME.get(name) or _BY_SUFFIX.get("." + name.rpartition(".")[2])


class ProgrammingLanguages(Rule):
    """Keeps documents of some languages only."""

    name: ClassVar[str] = "programming_languages"
    kind: ClassVar[Kind] = "code"
    source: ClassVar[str] = "arXiv 2408.10914, sections A.2 and A.3"

    keep: tuple[str, ...] = Field(min_length=1)
    """In the spelling of the paper; `code` and `markup` stand for its 25 and its 10."""

    def __call__(self, document: Document) -> Verdict:
        language = programming_language(document)
        if language in self._names:
            return None
        return Drop("programming language", language or "unknown")

    @cached_property
    def _names(self) -> frozenset[str]:
        groups = {"code": CODE_LANGUAGES, "markup": MARKUP_LANGUAGES}
        return frozenset(name for one in self.keep for name in groups.get(one, (one,)))
