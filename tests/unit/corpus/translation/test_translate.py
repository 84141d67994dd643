"""How things are written in JavaScript, what is refused, and what is proved of signs."""

import pytest

from megatron_codemix.corpus.synthesis.translation.refusal import UntranslatableError
from megatron_codemix.corpus.synthesis.translation.translate import Draft


def javascript(source: str, entry: str = "solve", **lows: int) -> str:
    """With care wherever a sign is not proved."""
    return Draft(source, entry, lows).finished().text


WHOLE = '''
from dataclasses import dataclass

BEST_LIMIT = 3


@dataclass
class Parcel:
    """Something to carry."""

    gross_weight: int
    tags: list[str]

    def is_heavy(self, limit: int = 10) -> bool:
        """Whether it weighs more than `limit`."""
        return self.gross_weight > limit


def heaviest_tags(parcels: list[Parcel], least_count: int) -> dict[str, int]:
    """Count the tags of heavy parcels.

    Tags of fewer than `least_count` parcels are left out.
    """
    counts: dict[str, int] = {}
    for parcel in parcels:
        if parcel.is_heavy():
            for tag in parcel.tags:
                counts[tag] = counts.get(tag, 0) + 1
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: counts[name] for name in names[:BEST_LIMIT] if counts[name] >= least_count}
'''

WHOLE_IN_JAVASCRIPT = """\
/** Negative, zero or positive: text by character, arrays by their first difference. */
function compare(a, b) {
  if (Array.isArray(a)) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const order = compare(a[i], b[i]);
      if (order !== 0) {
        return order;
      }
    }
    return a.length - b.length;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

const BEST_LIMIT = 3;

/** Something to carry. */
class Parcel {
  /**
   * @param {number} grossWeight
   * @param {string[]} tags
   */
  constructor(grossWeight, tags) {
    this.grossWeight = grossWeight;
    this.tags = tags;
  }

  /**
   * Whether it weighs more than `limit`.
   *
   * @param {number} limit
   * @returns {boolean}
   */
  isHeavy(limit = 10) {
    return this.grossWeight > limit;
  }
}

/**
 * Count the tags of heavy parcels.
 *
 * Tags of fewer than `leastCount` parcels are left out.
 *
 * @param {Parcel[]} parcels
 * @param {number} leastCount
 * @returns {Map<string, number>}
 */
function heaviestTags(parcels, leastCount) {
  const counts = new Map();
  for (const parcel of parcels) {
    if (parcel.isHeavy()) {
      for (const tag of parcel.tags) {
        counts.set(tag, (counts.get(tag) ?? 0) + 1);
      }
    }
  }
  const names = [...counts.keys()].sort(
    (a, b) => counts.get(b) - counts.get(a) || compare(a, b),
  );
  return new Map(
    names
      .slice(0, BEST_LIMIT)
      .filter((name) => counts.get(name) >= leastCount)
      .map((name) => [name, counts.get(name)]),
  );
}
"""


def test_a_whole_module() -> None:
    assert javascript(WHOLE, "heaviest_tags") == WHOLE_IN_JAVASCRIPT


HEAD = (
    "def solve(n: int, xs: list[int], text: str, words: list[str], table: dict[str, int],"
    " seen: set[int], is_on: bool) -> int:\n"
)
STATEMENTS = {
    "constant": ("m = n + 1", "const m = n + 1;"),
    "variable": ("m = 0\nm += n", "let m = 0;\nm += n;"),
    "both ways": (
        "if is_on:\n    m = 1\nelse:\n    m = 2\nreturn m",
        "let m;\nif (isOn) {\n  m = 1;",
    ),
    "one way each": (
        "if is_on:\n    m = 1\n    xs.append(m)\nelse:\n    m = 2\n    xs.append(m)",
        "if (isOn) {\n  const m = 1;\n  xs.push(m);\n} else {\n  const m = 2;\n  xs.push(m);\n}",
    ),
    "carried from round to round": (
        "for x in xs:\n    if x > 1:\n        m = x\n    elif x > 0:\n        xs[0] = m",
        "let m;\nfor (const x of xs) {",
    ),
    "own of each round": (
        "for x in xs:\n    m = x * 2\n    xs[0] = m",
        "for (const x of xs) {\n  const m = x * 2;\n  xs[0] = m;\n}",
    ),
    "swap": ("a, b = 1, 2\na, b = b, a", "let a = 1;\nlet b = 2;\n[a, b] = [b, a];"),
    "division with remainder": (
        "a, b = divmod(abs(n), 10)",
        "const a = Math.floor(Math.abs(n) / 10);\nconst b = Math.abs(n) % 10;",
    ),
    "counting": (
        "for i in range(n):\n    xs[i] = 0",
        "for (let i = 0; i < n; i++) {\n  xs[i] = 0;",
    ),
    "counting from": ("for i in range(2, n):\n    n += 0\nreturn i", "for (i of range(2, n)) {"),
    "counting down": (
        "for i in range(len(xs) - 1, -1, -1):\n    xs[i] = 0",
        "for (let i = xs.length - 1; i >= 0; i--) {\n  xs[i] = 0;",
    ),
    "counting to what changes": (
        "for i in range(len(xs)):\n    xs.append(i)",
        "const end = xs.length;\nfor (let i = 0; i < end; i++) {",
    ),
    "rounds": (
        "for _ in range(3):\n    for _ in range(n):\n        xs.pop()",
        "for (let i = 0; i < 3; i++) {\n  for (let j = 0; j < n; j++) {\n    xs.pop();",
    ),
    "numbered": (
        "for i, x in enumerate(xs):\n    xs[i] = x",
        "for (const [i, x] of xs.entries()) {\n  xs[i] = x;",
    ),
    "numbered from one": (
        "for i, word in enumerate(words, 1):\n    table[word] = i",
        "for (const [index, word] of words.entries()) {\n  const i = index + 1;\n",
    ),
    "pairs of a table": (
        "for key, value in table.items():\n    n += value",
        "for (const [key, value] of table) {\n  n += value;",
    ),
    "in step": (
        "for a, word in zip(xs, words):\n    table[word] = a",
        "for (const [a, word] of zip(xs, words)) {\n  table.set(word, a);",
    ),
    "letters": ("for c in text:\n    table[c] = 1", "for (const c of text) {\n  table.set(c, 1);"),
    "default": (
        "groups = {}\nfor x in xs:\n    groups.setdefault(x, []).append(n)",
        "  if (!groups.has(x)) {\n    groups.set(x, []);\n  }\n  groups.get(x).push(n);",
    ),
    "tally": (
        "for c in text:\n    table[c.lower()] += 1",
        "const key = c.toLowerCase();\n  table.set(key, table.get(key) + 1);",
    ),
    "queue": ("x = xs.pop(0)\nxs.insert(0, x)", "const x = xs.shift();\nxs.unshift(x);"),
    "removal": ("x = table.pop(text)", "const x = table.get(text);\ntable.delete(text);"),
    "not empty": ("while xs:\n    xs.pop()", "while (xs.length > 0) {"),
    "not zero": ("while n:\n    n -= 1", "while (n !== 0) {"),
    "empty": ("if not words:\n    return 0", "if (words.length === 0) {"),
    "between": ("if 0 < n <= len(xs):\n    n = 1", "if (0 < n && n <= xs.length) {"),
    "last": ("return xs[-1]", "return xs.at(-1);"),
    "store last": ("xs[-1] = 0", "xs[xs.length - 1] = 0;"),
    "end of a slice": ("ys = xs[-3:]", "const ys = xs.slice(-3);"),
    "turned": ("ys = xs[::-1]", "const ys = [...xs].reverse();"),
    "turned text": ("t = text[::-1]", 'const t = [...text].reverse().join("");'),
    "every second": ("ys = xs[::2]", "const ys = sliceBy(xs, null, null, 2);"),
    "table of zeros": (
        "rows = [[0] * n for _ in range(n)]",
        "const rows = Array.from({ length: n }, () => new Array(n).fill(0));",
    ),
    "squares": (
        "ys = [i * i for i in range(n)]",
        "const ys = Array.from({ length: n }, (_, i) => i * i);",
    ),
    "kept": ("ys = [x for x in xs if x > 0]", "const ys = xs.filter((x) => x > 0);"),
    "nested": (
        "ys = [(x, y) for x in xs for y in xs if x < y]",
        "const ys = xs.flatMap((x) => xs.filter((y) => x < y).map((y) => [x, y]));",
    ),
    "count": ("m = sum(1 for x in xs if x > n)", "const m = xs.filter((x) => x > n).length;"),
    "count of truths": ("m = sum(x > n for x in xs)", "const m = xs.filter((x) => x > n).length;"),
    "sum": (
        "m = sum(x * x for x in xs)",
        "const m = xs.reduce((total, x) => total + x * x, 0);",
    ),
    "largest": ("m = max(xs)", "const m = Math.max(...xs);"),
    "largest or": ("m = max(xs, default=0)", "const m = xs.length > 0 ? Math.max(...xs) : 0;"),
    "longest": (
        "m = max(words, key=len)",
        "const m = words.reduce((best, next) => (next.length > best.length ? next : best));",
    ),
    "sorted": ("ys = sorted(xs)", "const ys = [...xs].sort((a, b) => a - b);"),
    "sorted text": ("ys = sorted(words)", "const ys = [...words].sort();"),
    "from largest": ("xs.sort(reverse=True)", "xs.sort((a, b) => b - a);"),
    "template": ("t = f'{n}: {text}!'", "const t = `${n}: ${text}!`;"),
    "truth as text": ("t = str(is_on)", 'const t = isOn ? "True" : "False";'),
    "words": ("ws = text.split()", "const ws = text.match(/\\S+/g) ?? [];"),
    "all of": ("b = all(x > 0 for x in xs)", "const b = xs.every((x) => x > 0);"),
    "tuples as members": (
        "places = set()\nplaces.add((n, n))",
        "const places = new TupleSet();\nplaces.add([n, n]);",
    ),
    "union": ("both = seen | {n}", "const both = new Set([...seen, ...new Set([n])]);"),
    "even": ("b = n % 2 == 0", "const b = n % 2 === 0;"),
    "odd": ("b = n % 2 == 1", "const b = mod(n, 2) === 1;"),
    "reserved": ("new = n\ndefault = new", "const newValue = n;\nconst defaultValue = newValue;"),
    "nothing found": ("best = None\nif best is None:\n    best = n", "if (best === null) {"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_are_written_as_a_programmer_would(name: str) -> None:
    python, wanted = STATEMENTS[name]
    body = "".join(f"    {line}\n" for line in python.splitlines())
    text = javascript(HEAD + body)
    lines = [line.removeprefix("  ") for line in text.splitlines()]
    assert wanted in "\n".join(lines), text


SIGNS = {
    "parameter that is at least zero": ("return n % 3", "n % 3", {"n": 0}),
    "parameter that may be negative": ("return n % 3", "mod(n, 3)", {}),
    "divisor that may be zero or less": ("return len(xs) % n", "mod(xs.length, n)", {"n": 0}),
    "counted": (
        "total = 0\nfor i in range(len(xs)):\n    total += i % 2\nreturn total",
        "total += i % 2;",
        {},
    ),
    "under a condition": ("if n > 0:\n    return xs[n - 1]\nreturn 0", "xs[n - 1]", {}),
    "beside a condition": ("if n >= 0 and xs[n] > 1:\n    return 1\nreturn 0", "xs[n] > 1", {}),
    "after a return": ("if n < 1:\n    return 0\nreturn xs[n - 1]", "xs[n - 1]", {}),
    "compared with another": ("if n >= m:\n    return xs[n - m]\nreturn 0", "xs[n - m]", {}),
    "compared, then changed": (
        "if n >= m:\n    m += 1\n    return xs[n - m]\nreturn 0",
        "xs.at(n - m)",
        {},
    ),
    "falling": ("while n > 0:\n    n -= 1\nreturn xs[n]", "xs.at(n)", {}),
    "falling to zero": (
        "i = len(xs)\nwhile i > 0:\n    i -= 1\n    xs[i] = 0\nreturn 0",
        "xs[i] = 0;",
        {},
    ),
    "halved": (
        "low, high = 0, len(xs) - 1\nwhile low <= high:\n    middle = (low + high) // 2\n"
        "    if xs[middle] < n:\n        low = middle + 1\n    else:\n        high = middle - 1\n"
        "return low",
        "xs[middle] < n",
        {},
    ),
    "of a function that is only called so": ("return helper(abs(n))", "return k % 5;", {}),
    "Euclid": (
        "a, b = abs(n), abs(m)\nwhile b:\n    a, b = b, a % b\nreturn a",
        "[a, b] = [b, a % b];",
        {},
    ),
    "inner loop": (
        "for i in range(len(xs)):\n    for j in range(i):\n        xs[i - j - 1] = 0\nreturn 0",
        "xs[i - j - 1] = 0;",
        {},
    ),
    "bound that the loop changes": (
        "m = len(xs)\nfor i in range(m):\n    m -= 2\n    n += xs[m - i]\nreturn n",
        "xs.at(m - i)",
        {},
    ),
}


@pytest.mark.parametrize("name", SIGNS)
def test_signs_are_proved_where_they_can_be(name: str) -> None:
    python, wanted, lows = SIGNS[name]
    body = "".join(f"    {line}\n" for line in python.splitlines())
    helper = "def helper(k: int) -> int:\n    return k % 5\n\n\n"
    head = "def solve(n: int, m: int, xs: list[int]) -> int:\n"
    assert wanted in javascript(helper + head + body, **lows)


REFUSED = {
    "division": ("return n / 2", "n / 2"),
    "bits": ("return n & 1", "n & 1"),
    "a float": ("return int(n * 0.5)", "0.5"),
    "an exception": ("try:\n    return n\nexcept ValueError:\n    return 0", "`try`"),
    "raising": ("raise ValueError(n)", "`raise`"),
    "a context": ("with open(n):\n    return 0", "`with`"),
    "an assertion": ("assert n", "an assertion"),
    "an assignment in an expression": ("return (m := n)", "an assignment within"),
    "a loop's else": ("for x in xs:\n    n += x\nelse:\n    n = 0\nreturn n", "`else` of a loop"),
    "an unknown function": ("return print(n)", "a call of `print`"),
    "an unknown method": ("return text.zfill(3)", "the method `zfill` of a str"),
    "a format": ("return len(f'{n:03d}')", "a format in an f-string"),
    "an iterator that is kept": ("it = zip(xs, xs)\nreturn 0", "an iterator kept in a name (`it`)"),
    "a slice that is assigned": ("xs[1:] = []\nreturn 0", "xs[1:]"),
    "two types": ("m = 1\nm = 'a'\nreturn 0", "string where number is expected"),
    "an unpacked list": ("return max(*xs)", "a starred expression"),
    "a type": ("m: float = 1\nreturn 0", "the type `float`"),
    "a large integer": ("return 9007199254740993", "9007199254740993, too large"),
    "what has no type": ("m = []\nif m[0]:\n    return 1\nreturn 0", "whose type is not known"),
    "yielding": ("yield n", "`yield`"),
    "deletion of a name": ("del n", "`del n`"),
    "a text as a number": ("return n + text", "n + text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_outside_the_subset_is_named_with_its_line(name: str) -> None:
    python, named = REFUSED[name]
    body = "".join(f"    {line}\n" for line in python.splitlines())
    source = "\ndef solve(n: int, xs: list[int], text: str) -> int:\n    n += 1\n" + body
    with pytest.raises(UntranslatableError) as error:
        javascript(source)
    assert named in error.value.construct
    assert 4 <= error.value.line <= 7
    assert str(error.value).startswith(f"line {error.value.line}: ")


MODULES = {
    "an import": ("import math\ndef solve(n: int) -> int:\n    return n", "an import", 1),
    "a base class": ("class A(B):\n    pass\ndef solve(n: int) -> int:\n    return n", "base", 1),
    "an operator's method": (
        "class A:\n    def __lt__(self, other: int) -> bool:\n        return True\n",
        "`__lt__`",
        2,
    ),
    "a decorator": ("@cache\ndef solve(n: int) -> int:\n    return n", "`cache`", 2),
    "many arguments": ("def solve(*n: int) -> int:\n    return 1", "`*`", 1),
    "another function": (
        "def other(n: int) -> int:\n    return 1",
        "without a function `solve`",
        1,
    ),
    "a statement": ("solve = 3\nsolve()\n", "`solve()`", 2),
    "no Python": ("def solve(n: int) -> int\n    return 1", "def solve", 1),
    "no hint": ("def solve(n):\n    return []", "unknown type in the head of `solve`", 1),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_outside_the_subset_are_refused(name: str) -> None:
    source, named, line = MODULES[name]
    with pytest.raises(UntranslatableError) as error:
        javascript(source)
    assert named in error.value.construct
    assert error.value.line == line
