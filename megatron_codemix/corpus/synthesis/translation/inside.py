"""What runs in the sandbox: JavaScript programs on given arguments, each in a QuickJS of its own.

This file is sent there as source text. It reads one JSON object from standard input and writes a
JSON line for each program as soon as that is done; what is missing at the end was going on.
"""

import json
import sys
from importlib import import_module
from typing import Any

HARNESS = """
"use strict";
// Since ES2022; this QuickJS is older.
for (const kind of [Array, String]) {
  kind.prototype.at ??= function (index) {
    const place = Math.trunc(index) || 0;
    return this[place < 0 ? this.length + place : place];
  };
  Object.defineProperty(kind.prototype, "at", { enumerable: false });
}

const $whole = (value) => {
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(`${value} is no exact integer`);
  }
  return value;
};

// This QuickJS holds 1 and 1 + 0 * -1 in two ways, and Map and Set take them for two keys.
for (const [kind, names] of [
  [Map, ["get", "set", "has", "delete"]],
  [Set, ["add", "has", "delete"]],
]) {
  for (const name of names) {
    const original = kind.prototype[name];
    const value = function (key, ...rest) {
      const one = typeof key === "number" && (key | 0) === key ? key | 0 : key;
      return original.call(this, one, ...rest);
    };
    Object.defineProperty(kind.prototype, name, { value, writable: true, configurable: true });
  }
}

const $sites = new Map();
const $saw = (site, fits) => {
  const [count, isPlain] = $sites.get(site) ?? [0, true];
  $sites.set(site, [count + 1, isPlain && fits]);
};
const $seen = (site, value, least) => {
  $saw(site, value >= least);
  return value;
};
const $zero = (site, value) => {
  $saw(site, !Object.is(value, -0));
  return value + 0;
};

const $given = (form, value, classes) => {
  const part = (index, one) => $given(form[index], one, classes);
  switch (typeof form === "string" ? form : form[0]) {
    case "list":
      return value.map((one) => part(1, one));
    case "tuple":
      return value.map((one, index) => part(index + 1, one));
    case "set":
      return new classes[$named(form, "Set")](value.map((one) => part(1, one)));
    case "dict":
      return new classes[$named(form, "Map")](
        value.map(([key, one]) => [part(1, key), part(2, one)]),
      );
    case "optional":
      return value === null ? null : part(1, value);
    case "record":
      return new classes[form[2]](
        ...form[3].map(([, , inner], at) => $given(inner, value[at], classes)),
      );
  }
  return value;
};

const $named = (form, name) => (["list", "tuple"].includes(form[1][0]) ? `Tuple${name}` : name);

const $wrong = (form, value) => {
  const shown = Object.is(value, -0) ? "-0" : (JSON.stringify(value) ?? "undefined");
  throw new TypeError(`${String(shown).slice(0, 80)} where ${JSON.stringify(form)} is expected`);
};

const $result = (form, value, classes) => {
  const part = (index, one) => $result(form[index], one, classes);
  const check = (holds) => holds || $wrong(form, value);
  switch (typeof form === "string" ? form : form[0]) {
    case "int":
      // JSON does not tell -0 from 0; Node prints it, and takes it for another number.
      check(typeof value === "boolean" || (Number.isSafeInteger(value) && !Object.is(value, -0)));
      return value;
    case "bool":
      check(typeof value === "boolean");
      return value;
    case "str":
      check(typeof value === "string");
      return value;
    case "none":
      check(value === undefined || value === null);
      return null;
    case "list":
      check(Array.isArray(value));
      return Array.from(value, (one) => part(1, one));
    case "tuple":
      check(Array.isArray(value) && value.length === form.length - 1);
      return value.map((one, index) => part(index + 1, one));
    case "set":
      check(value instanceof Set);
      return [...value].map((one) => part(1, one));
    case "dict":
      check(value instanceof Map);
      return [...value].map(([key, one]) => [part(1, key), part(2, one)]);
    case "optional":
      return value === null ? null : part(1, value);
    case "record":
      check(value instanceof classes[form[2]]);
      return form[3].map(([, name, inner]) => $result(inner, value[name], classes));
  }
  return $wrong(form, value);
};

const $run = (make, job) => {
  const { entry, parameters, returns, calls } = JSON.parse(job);
  const classes = { Map, Set, ...make };
  const results = calls.map((values) => {
    const given = values.map((value, index) => $given(parameters[index], value, classes));
    return $result(returns, classes[entry](...given), classes);
  });
  return JSON.stringify({ results, sites: [...$sites] });
};
"""
_MAX_RESULT_BYTES = 2**20


def main() -> None:
    """Runs all programs of standard input."""
    request = json.load(sys.stdin)
    engine = import_module("_quickjs")
    for number, program in enumerate(request["programs"]):
        line = {"program": number, **run(engine, program, request["limits"])}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def run(engine: Any, program: dict[str, Any], limits: dict[str, int]) -> dict[str, Any]:
    """`results` of the calls, and what was seen at the `sites` of a checked text; or `error`."""
    try:
        answer = _answer(engine, program, limits)
    except Exception as error:
        message = str(error).strip().splitlines() or [""]
        if message == ["null"]:  # the engine's, where no memory is left to make an error of
            message = ["null (thrown, or out of memory for the error itself)"]
        return {"error": f"{type(error).__name__}: {message[0][:300]}"}
    if len(answer) > _MAX_RESULT_BYTES:
        return {"error": f"results of more than {_MAX_RESULT_BYTES} characters"}
    record = json.loads(answer)
    if not isinstance(record, dict):
        return {"error": "the program has changed how results are handed over"}
    return {"results": record.get("results"), "sites": record.get("sites")}


def _answer(engine: Any, program: dict[str, Any], limits: dict[str, int]) -> str:
    job = {name: program[name] for name in ("entry", "parameters", "returns", "calls")}
    context = engine.Context()
    context.set_memory_limit(limits["memory_bytes"])
    context.set_time_limit(limits["cpu_seconds"])
    context.set_max_stack_size(limits["stack_bytes"])
    context.eval(HARNESS)
    exports = ", ".join(program["exports"])
    made = f"(() => {{ 'use strict';\n{program['text']}\nreturn {{ {exports} }}; }})()"
    context.set("$job", json.dumps(job))
    return str(context.eval(f"$run({made}, $job)"))


if __name__ == "__main__":
    main()
