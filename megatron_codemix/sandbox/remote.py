"""A test and the code that it tests, in two processes: calls and values go over a socket.

A nonce or a marker in one process would be within the candidate's reach: it can read frames,
objects and memory, and patch what compares. So the candidate's side (`serve`) only answers, and the
test's side (`Remote`) decides. The candidate may do to its own process what it likes (overwrite
built-ins, exit with 0, write to the socket itself): all it can send are answers, and they have to
be right. The test's text and its expected values are never in the candidate's process.

What the test takes from the candidate besides return values is the candidate's word too: an object
of a class of its own, or a helper that the test does not define. Such objects are sent as
references, which have attributes and can be called and iterated, but are equal to nothing but
themselves.
"""

import builtins
import json
import os
from collections import deque
from collections.abc import Iterator, MutableSequence
from typing import Any

from megatron_codemix.sandbox.values import decode, encode

_MESSAGE_BYTES = 64 * 2**20
_MUTABLE = (list, dict, set, bytearray, deque)


class RemoteError(Exception):
    """The candidate did not answer, or raised what the test's side has no class for."""


class Channel:
    """JSON lines, both ways, over one connected socket."""

    def __init__(self, descriptor: int) -> None:
        self._read = os.fdopen(descriptor, "rb", closefd=False)
        self._descriptor = descriptor

    def send(self, message: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(message).encode() + b"\n")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def receive(self) -> dict[str, Any] | None:
        """None once the other side has ended."""
        line = self._read.readline(_MESSAGE_BYTES)
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"a message is {type(message).__name__}, not an object")
        return message


def serve(channel: Channel, names: dict[str, Any]) -> None:
    """The candidate's side: does what the test asks for until it has ended."""
    objects: list[object] = []

    def export(value: object) -> list[Any]:
        objects.append(value)
        return ["reference", len(objects) - 1]

    def imported(name: str, content: Any) -> object:
        if name == "name":
            return names[content] if content in names else getattr(builtins, content)
        return objects[content]

    while (request := channel.receive()) is not None:
        try:
            channel.send(_answer(request, export, imported))
        except Exception as error:
            channel.send({"raised": type(error).__name__, "arguments": _arguments_of(error)})


def _arguments_of(error: Exception) -> Any:
    """As sent: those that it was made with; its text where they are no values."""
    try:
        return encode(list(error.args), _no_value)
    except TypeError:
        return encode([str(error)], _no_value)


def _no_value(*what: object) -> Any:
    raise TypeError(f"{what} is no value")


def _answer(request: dict[str, Any], export: Any, imported: Any) -> dict[str, Any]:
    target = imported(*request["target"])
    if request["do"] == "get":
        return {"value": encode(getattr(target, request["name"]), export)}
    arguments = decode(request["arguments"], imported)
    if request["do"] == "set":
        setattr(target, request["name"], arguments[0])
        return {"value": None}
    result = target(*arguments, **decode(request["keywords"], imported))
    changed = {
        str(index): form
        for index, one in enumerate(arguments)
        if isinstance(one, _MUTABLE)
        and (form := encode(one, export)) != request["arguments"][1][index]
    }
    return {"value": encode(result, export), "changed": changed}


class Remote:
    """An object or a name of the candidate's, as the test sees it."""

    def __init__(self, channel: Channel, target: list[Any]) -> None:
        self.__dict__["_remote"] = (channel, target)

    def __call__(self, *arguments: object, **keywords: object) -> Any:
        reply = self._ask("call", arguments=_send(arguments), keywords=_send(keywords))
        for index, form in reply.get("changed", {}).items():
            _change(arguments[int(index)], self._receive(form))
        return self._receive(reply["value"])

    def __getattr__(self, name: str) -> Any:
        return self._receive(self._ask("get", name=name)["value"])

    def __setattr__(self, name: str, value: object) -> None:
        self._ask("set", name=name, arguments=_send([value]))

    def __iter__(self) -> Iterator[Any]:
        return self.__getattr__("__iter__")()  # type: ignore[no-any-return]  # a Remote

    def __next__(self) -> Any:
        return self.__getattr__("__next__")()

    def _ask(self, do: str, **what: Any) -> dict[str, Any]:
        channel, target = self.__dict__["_remote"]
        try:
            channel.send({"do": do, "target": target, **what})
            reply: dict[str, Any] | None = channel.receive()
        except OSError as error:
            raise RemoteError(f"the candidate is gone: {error}") from None
        if reply is None:
            raise RemoteError("the candidate ended without an answer")
        if "raised" in reply:
            raise _local_error(str(reply["raised"]), decode(reply["arguments"], _no_value))
        return reply

    def _receive(self, form: Any) -> Any:
        channel, _ = self.__dict__["_remote"]

        def imported(name: str, content: Any) -> Remote:
            if name != "reference" or not isinstance(content, int):
                raise ValueError(f"the candidate sent {name!r}, which is no type")
            return Remote(channel, ["reference", content])

        return decode(form, imported)


def _send(value: object) -> Any:
    def export(one: object) -> list[Any]:
        if isinstance(one, Remote):
            target: list[Any] = one.__dict__["_remote"][1]
            return target
        raise TypeError(f"a {type(one).__name__} of the test cannot be sent to the candidate")

    return encode(list(value) if isinstance(value, tuple) else value, export)


def _change(argument: Any, now: Any) -> None:
    """What the candidate did to an argument in place happens to the test's object too."""
    if type(argument) is not type(now):
        raise RemoteError(f"an argument changed from {type(argument)} to {type(now)}")
    argument.clear()
    if isinstance(argument, MutableSequence):
        argument.extend(now)
    else:
        argument.update(now)


def _local_error(name: str, arguments: list[Any]) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(*arguments)
        except TypeError:  # it is made in another way, as UnicodeDecodeError
            pass
    return RemoteError(f"{name}: {arguments}")
