"""JavaScript in the sandbox: what it gives, and what programs that attack can do (nothing)."""

import time
from collections.abc import Iterator

import pytest

from megatron_codemix.corpus.synthesis.translation.engine import (
    Engine,
    EngineLimits,
    Failed,
    Program,
    Ran,
)
from megatron_codemix.sandbox.limits import MIB, Limits

LIMITS = EngineLimits(
    cpu_seconds=1,
    memory_bytes=64 * MIB,
    process=Limits(wall_seconds=60, cpu_seconds=3, memory_bytes=512 * MIB, output_bytes=8 * MIB),
)
SLACK_SECONDS = 120
"""Three processes that each run into the limits above, on a busy machine."""


@pytest.fixture(scope="module")
def engine(isolation: None) -> Iterator[Engine]:
    with Engine(LIMITS) as one:
        yield one


def script(text: str, returns: object = "int") -> Program:
    return Program(text, "f", ("f",), ("int",), returns, [[21]])


GOOD = script("function f(x) { return x + 1; }")

OVERLOADS = {
    "loops": ("function f(x) { while (true) {} }", "interrupted"),
    "loops when it is read": ("while (true) {} function f(x) {}", "interrupted"),
    "loops in a conversion": (
        "function f(x) { return `${{ toString() { while (true) {} } }}`; }",
        "interrupted",
    ),
    "loops in what it returns": (
        "function f(x) { return new Proxy([], { get() { while (true) {} } }); }",
        "interrupted",
    ),
    "loops in code that it makes": ("function f(x) { eval('while (true) {}'); }", "interrupted"),
    "sorts without end": (
        "function f(x) { const a = Array.from({ length: 1e5 }, (_, i) => i);"
        " while (true) { a.sort(() => 0.5 - Math.random()); } }",
        "interrupted",
    ),
    "matches without end": ("function f(x) { /^(a+)+$/.test('a'.repeat(40) + 'b'); }", "timeout"),
    "takes memory bit by bit": (
        "function f(x) { const a = []; while (true) { a.push(new Array(1000).fill(1)); } }",
        "out of memory",
    ),
    "takes memory at once": ("function f(x) { return 'x'.repeat(2 ** 29); }", "out of memory"),
    "takes memory for a text": (
        "function f(x) { let s = 'ab'; while (true) { s += s; } }",
        "out of memory",
    ),
    "takes a large buffer": ("function f(x) { return new ArrayBuffer(2 ** 40); }", "array buffer"),
    "yields without end": (
        "function f(x) { return [...(function* () { while (true) yield 1; })()]; }",
        "out of memory",
    ),
    "recurses": ("function f(x) { return f(x) + 1; }", "stack overflow"),
    "nests deeply": (
        "function f(x) { let a = []; for (let i = 0; i < 1e6; i++) { a = [a]; } return a; }",
        "",
    ),
    "waits": (
        "function f(x) { Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0); }",
        "cannot block",
    ),
    "gives a flood": ("function f(x) { return 'x'.repeat(2 ** 22); }", "results of more than"),
    "is no program": ("function f(x { return 1; }", "SyntaxError"),
    "throws": ("function f(x) { throw new Error('no'); }", "no"),
    "throws what is no error": ("function f(x) { throw undefined; }", ""),
    "gives what is not asked for": ("function f(x) { return 0.5; }", "is expected"),
    "gives a negative zero": ("function f(x) { return -0; }", '-0 where "int" is expected'),
    "gives an inexact integer": ("function f(x) { return 2 ** 53; }", "is expected"),
    "gives nothing": ("function f(x) {}", "is expected"),
    "gives too many results": (
        'JSON.stringify = () => \'{"results": [1, 2, 3], "sites": []}\'; function f(x) {}',
        "",
    ),
    "changes how results go": (
        "JSON.stringify = () => '[1]'; function f(x) { return []; }",
        "changed how results",
    ),
    "leaves its wrapper": ("return {}; }), $sites.clear(), (() => { function f(x) {}", ""),
}
"""Text, and what the reason says. Each stands between two good programs."""


@pytest.mark.parametrize("name", OVERLOADS)
def test_bad_programs_fail_and_others_are_not_touched(engine: Engine, name: str) -> None:
    text, said = OVERLOADS[name]
    returns = "str" if "flood" in name or "at once" in name else ["list", "int"]
    returns = "int" if "gives" in name and "flood" not in name else returns
    started = time.monotonic()
    first, bad, last = engine.run([GOOD, script(text, returns), GOOD])
    assert first == last == Ran([22], {})
    assert isinstance(bad, Failed), bad
    assert said in bad.reason
    assert time.monotonic() - started < SLACK_SECONDS


REACHES = (
    "require", "process", "std", "os", "print", "console", "scriptArgs", "fetch", "setTimeout",
    "WebAssembly", "Deno", "Bun", "module", "exports", "__loadScript", "navigator",
)  # fmt: skip


def test_programs_have_nothing_of_the_host(engine: Engine) -> None:
    names = ", ".join(f"typeof {name}" for name in REACHES)
    text = f"function f(x) {{ return [{names}]; }}"
    [ran] = engine.run([script(text, ["list", "str"])])
    assert isinstance(ran, Ran)
    assert set(ran.results[0]) == {"undefined"}


def test_modules_of_the_host_cannot_be_imported(engine: Engine) -> None:
    text = (
        "let found = 'nothing'; import('/etc/passwd').then(() => { found = 'it'; });"
        "function f(x) { return found; }"
    )
    [ran] = engine.run([script(text, "str")])
    assert ran == Ran(["nothing"], {})


def test_programs_share_nothing(engine: Engine) -> None:
    leaves = script("globalThis.left = 5; Array.prototype.left = 5; function f(x) { return 1; }")
    looks = script("function f(x) { return [typeof left, typeof [].left]; }", ["list", "str"])
    assert engine.run([leaves, looks])[1] == Ran([["undefined", "undefined"]], {})


def test_more_programs_than_one_process_takes(engine: Engine) -> None:
    programs = [script(f"const f = (x) => x + {number};") for number in range(450)]
    assert engine.run(programs) == [Ran([21 + number], {}) for number in range(450)]


def test_values_go_over_by_their_types(engine: Engine) -> None:
    form = ["dict", "str", ["optional", ["tuple", "int", ["list", ["set", "bool"]]]]]
    value = [["b", [1, [[True, False], []]]], ["a", None]]
    program = Program("const f = (x) => x;", "f", ("f",), (form,), form, [[value]])
    assert engine.run([program]) == [Ran([value], {})]


def test_at_is_that_of_newer_engines(engine: Engine) -> None:
    """Against the specification (ECMAScript 2022, 23.1.3.1)."""
    text = "const f = (x) => [0, 2, -1, -3, 3, -4].map((i) => [5, 6, 7].at(i) ?? null);"
    [ran] = engine.run([script(text, ["list", ["optional", "int"]])])
    assert ran == Ran([[5, 7, 7, 5, None, None]], {})


def test_equal_numbers_are_one_key(engine: Engine) -> None:
    """This QuickJS alone finds `one` among few keys, but not among many: it keeps 1 + 0 * -x in
    another way than 1, and looks in another place."""
    text = (
        "const f = (x) => { const one = 1 + 0 * -x; const keys = [1, 3, 8, -8, 0, 5, 6];"
        " const m = new Map(keys.map((key) => [key, key])); m.set(one, 2);"
        " return [m.size, new Set([...keys, one]).size, m.get(1)]; };"
    )
    assert engine.run([script(text, ["list", "int"])]) == [Ran([[7, 7, 2]], {})]
