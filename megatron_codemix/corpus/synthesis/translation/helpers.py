"""Functions that a translation brings along where JavaScript has nothing that means the same."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Helper:
    text: str
    needs: tuple[str, ...] = ()
    """Other helpers that it calls."""


HELPERS = {
    "mod": Helper(
        """/** The remainder with the sign of the divisor, as in Python. */
function mod(a, b) {
  const rest = a % b;
  if (rest === 0) {
    return 0; // not -0
  }
  return rest < 0 !== b < 0 ? rest + b : rest;
}"""
    ),
    "range": Helper(
        """/** The integers from start up to (not including) stop, in steps. */
function range(start, stop, step = 1) {
  const length = Math.max(0, Math.ceil((stop - start) / step));
  return Array.from({ length }, (_, i) => start + i * step);
}"""
    ),
    "zip": Helper(
        """/** Tuples of the elements at each place, as long as the shortest array. */
function zip(...arrays) {
  const length = Math.min(...arrays.map((one) => one.length));
  return Array.from({ length }, (_, i) => arrays.map((one) => one[i]));
}"""
    ),
    "compare": Helper(
        """/** Negative, zero or positive: text by character, arrays by their first difference. */
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
}"""
    ),
    "maxOr": Helper(
        """/** The largest of some numbers, or what is given besides where there are none. */
function maxOr(numbers, otherwise) {
  return numbers.length > 0 ? Math.max(...numbers) : otherwise;
}"""
    ),
    "minOr": Helper(
        """/** The smallest of some numbers, or what is given besides where there are none. */
function minOr(numbers, otherwise) {
  return numbers.length > 0 ? Math.min(...numbers) : otherwise;
}"""
    ),
    "isEqual": Helper(
        """/** Whether two values hold the same. */
function isEqual(a, b) {
  if (a === b || a === null || b === null || typeof a !== "object") {
    return a === b;
  }
  if (a instanceof Set) {
    return a.size === b.size && [...a].every((one) => b.has(one));
  }
  if (a instanceof Map) {
    const same = ([key, one]) => b.has(key) && isEqual(one, b.get(key));
    return a.size === b.size && [...a].every(same);
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => isEqual(a[key], b[key]));
}"""
    ),
    "sameItems": Helper(
        """/** Whether two arrays hold the same items in the same order. */
function sameItems(a, b) {
  const same = (one, other) => (Array.isArray(one) ? sameItems(one, other) : one === other);
  return a.length === b.length && a.every((one, i) => same(one, b[i]));
}"""
    ),
    "sliceBy": Helper(
        """/** Every so many elements, from start to (not including) stop; null is the end. */
function sliceBy(items, start, stop, step) {
  const length = items.length;
  const place = (at, low, high) => Math.min(Math.max(at < 0 ? at + length : at, low), high);
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const first = start === null ? (step > 0 ? low : high) : place(start, low, high);
  const last = stop === null ? (step > 0 ? high : low) : place(stop, low, high);
  const taken = [];
  for (let i = first; step > 0 ? i < last : i > last; i += step) {
    taken.push(items[i]);
  }
  return taken;
}"""
    ),
    "countOf": Helper(
        """/** How often a part is found in a text, without overlaps. */
function countOf(text, part) {
  return part === "" ? text.length + 1 : text.split(part).length - 1;
}"""
    ),
    "capitalize": Helper(
        """/** The text with its first letter in upper case, all others in lower case. */
function capitalize(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();
}"""
    ),
    "swapCase": Helper(
        """/** The text with upper case for lower case, and the other way round. */
function swapCase(text) {
  const swap = (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase());
  return [...text].map(swap).join("");
}"""
    ),
    "setDefault": Helper(
        """/** The value under a key, which is put there first if there is none. */
function setDefault(map, key, value) {
  if (!map.has(key)) {
    map.set(key, value);
  }
  return map.get(key);
}"""
    ),
    "take": Helper(
        """/** Removes a key from a map; its value. */
function take(map, key, otherwise) {
  const value = map.has(key) ? map.get(key) : otherwise;
  map.delete(key);
  return value;
}"""
    ),
    "TupleMap": Helper(
        """/** A Map whose keys are arrays, told apart by what they hold. */
class TupleMap extends Map {
  #entries = new Map();

  constructor(entries = []) {
    super();
    for (const [key, value] of entries) {
      this.set(key, value);
    }
  }

  get size() {
    return this.#entries.size;
  }

  has(key) {
    return this.#entries.has(JSON.stringify(key));
  }

  get(key) {
    return this.#entries.get(JSON.stringify(key))?.[1];
  }

  set(key, value) {
    const text = JSON.stringify(key);
    this.#entries.set(text, [this.#entries.get(text)?.[0] ?? key, value]);
    return this;
  }

  delete(key) {
    return this.#entries.delete(JSON.stringify(key));
  }

  clear() {
    this.#entries.clear();
  }

  *keys() {
    for (const [key] of this.#entries.values()) {
      yield key;
    }
  }

  *values() {
    for (const [, value] of this.#entries.values()) {
      yield value;
    }
  }

  [Symbol.iterator]() {
    return this.#entries.values();
  }
}"""
    ),
    "TupleSet": Helper(
        """/** A Set whose members are arrays, told apart by what they hold. */
class TupleSet extends Set {
  #members = new Map();

  constructor(members = []) {
    super();
    for (const member of members) {
      this.add(member);
    }
  }

  get size() {
    return this.#members.size;
  }

  has(member) {
    return this.#members.has(JSON.stringify(member));
  }

  add(member) {
    const text = JSON.stringify(member);
    if (!this.#members.has(text)) {
      this.#members.set(text, member);
    }
    return this;
  }

  delete(member) {
    return this.#members.delete(JSON.stringify(member));
  }

  clear() {
    this.#members.clear();
  }

  [Symbol.iterator]() {
    return this.#members.values();
  }
}"""
    ),
}


def helper_texts(used: set[str]) -> list[str]:
    """Those used and those that they need, in the order of the table."""
    wanted = set(used)
    for name in used:
        wanted |= set(HELPERS[name].needs)
    return [helper.text for name, helper in HELPERS.items() if name in wanted]
