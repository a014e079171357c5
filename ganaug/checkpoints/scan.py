"""What a pickle would build, counted before anything is built: a few bytes of one can ask for any memory and any time.

The scan goes once through the instructions, as the pickle machine does, with a depth and a size in place of each
object. Nothing that the pickle names is looked up, let alone called.
"""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import dataclass, field
from typing import IO, Any, cast

MOST_INSTRUCTIONS = 1_000_000
"""Each takes a few hundred bytes of memory at most. A checkpoint has some 50 for each tensor."""

LONGEST_TEXT = 2**20
MOST_BITS = 8192
DEEPEST = 100
"""Tuples within tuples; Python's hash of one goes down all the way, and ends the process where that is too far."""

MOST_KEYS = 20_000
"""Keys other than texts, whose hashes a file can choose alike, so that each is compared with all the others."""

COPIES = 32
"""What is handed to functions, a network's parts with each network around them, in sizes of the file."""

HUGE = 2**62


class Name(str):
    """What a pickle asks for, as ``"module name"``."""

    __slots__ = ()


@dataclass
class Budget:
    """What reading a file of ``size`` bytes may still cost; :class:`pickle.UnpicklingError` where it is used up.

    Attributes:
        tensors: bytes of tensors; a stored one may have two names.
        numbers: NumPy values that become Python's.
    """

    size: int
    instructions: int = MOST_INSTRUCTIONS
    keys: int = MOST_KEYS
    copies: int = field(init=False)
    tensors: int = field(init=False)
    numbers: int = field(init=False)

    def __post_init__(self) -> None:
        self.copies, self.tensors = COPIES * self.size + 2**26, 2 * self.size
        self.numbers = min(self.size, 1_000_000)

    def spend(self, what: str, amount: int) -> None:
        """Take an amount off one of the attributes."""
        left = getattr(self, what) - amount
        if left < 0:
            raise pickle.UnpicklingError(f"it asks for more {what} than a file of {self.size:,} bytes can hold")
        setattr(self, what, left)


@dataclass
class Scan:
    """What pickles ask for: names, those of them that are called, and storages by ``(type, key, location, number)``."""

    names: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    storages: list[tuple[Any, ...]] = field(default_factory=list)


class _Item:
    """In place of an object: how deep its tuples are, about how many bytes it has, what it is as far as that counts."""

    __slots__ = ("depth", "size", "value")

    def __init__(self, depth: int, size: int, value: Any) -> None:
        self.depth, self.size, self.value = depth, size, value


class _Skipped:
    """Bytes that were passed over."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


class _Skipping:
    """A file for pickletools: long contents are passed over, and what would go beyond the end is refused."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes | _Skipped:
        if count <= LONGEST_TEXT:
            return self.file.read(count)
        if count > self.size - self.file.tell():
            raise pickle.UnpicklingError("it ends too early")
        self.file.seek(count, 1)
        return _Skipped(count)


def _effect(opcode: pickletools.OpcodeInfo) -> tuple[bool, int, int]:
    """Whether all down to the mark is taken, how many objects below the mark or in all, and how many are put there."""
    before = opcode.stack_before
    marked = pickletools.markobject in before
    return marked, before.index(pickletools.markobject) if marked else len(before), len(opcode.stack_after)


_EFFECTS = {opcode.code: _effect(opcode) for opcode in pickletools.opcodes}
_CODES = {opcode.name: opcode.code for opcode in pickletools.opcodes}


def _codes(names: str) -> frozenset[str]:
    return frozenset(_CODES[name] for name in names.split())


MARK, POP, POP_MARK, DUP, FRAME = map(_CODES.__getitem__, ("MARK", "POP", "POP_MARK", "DUP", "FRAME"))
GLOBAL, STACK_GLOBAL, INST = map(_CODES.__getitem__, ("GLOBAL", "STACK_GLOBAL", "INST"))
BUILD, SETITEM = _CODES["BUILD"], _CODES["SETITEM"]
PUTS, GETS = _codes("PUT BINPUT LONG_BINPUT MEMOIZE"), _codes("GET BINGET LONG_BINGET")
TUPLES, CALLS = _codes("TUPLE TUPLE1 TUPLE2 TUPLE3"), _codes("REDUCE NEWOBJ NEWOBJ_EX OBJ INST BUILD")
CHANGES, PAIRS = _codes("APPEND APPENDS SETITEM SETITEMS ADDITEMS BUILD"), _codes("SETITEM SETITEMS DICT")
SETS, PERSISTENT = _codes("ADDITEMS FROZENSET"), _codes("PERSID BINPERSID")
FREE = _codes("PROTO STOP")
HASHING = {"builtins set", "__builtin__ set", "collections Counter", "collections OrderedDict"}


def scan_pickle(file: IO[bytes], budget: Budget, found: Scan) -> None:
    """Go through one pickle, up to its end, and add to what was found.

    Args:
        file: read from where it stands, and left behind the pickle.

    Raises:
        pickle.UnpicklingError: it would cost more than the budget has left, or is damaged.
        ValueError, and what else :func:`pickletools.genops` raises: it is damaged.
    """
    stack: list[_Item] = []
    marks: list[int] = []
    memo: dict[int, _Item] = {}
    try:
        arg: Any
        for opcode, arg, _ in pickletools.genops(cast(IO[bytes], _Skipping(file, budget.size))):
            code = opcode.code
            budget.instructions -= 1
            if budget.instructions < 0:
                raise pickle.UnpicklingError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
            if code in PUTS:
                place = len(memo) if arg is None else arg
                if not 0 <= place < MOST_INSTRUCTIONS:
                    raise pickle.UnpicklingError(f"it numbers an object {place}")
                memo[place] = stack[-1]
            elif code in GETS:
                stack.append(memo[arg])
            elif code == MARK:
                marks.append(len(stack))
            elif code == POP_MARK:
                del stack[marks.pop() :]
            elif code == POP:
                if marks and marks[-1] == len(stack):
                    marks.pop()
                else:
                    stack.pop()
            elif code == DUP:
                stack.append(stack[-1])
            elif code == FRAME:
                if arg > budget.size - file.tell():
                    raise pickle.UnpicklingError("it ends too early")
            elif code not in FREE:
                _step(code, arg, stack, marks, budget, found)
    except (IndexError, KeyError) as error:
        raise pickle.UnpicklingError("it takes what is not there") from error


def _step(code: str, arg: Any, stack: list[_Item], marks: list[int], budget: Budget, found: Scan) -> None:
    """One instruction that makes or changes an object."""
    marked, count, pushed = _EFFECTS[code]
    if not marked and not count:
        stack.append(_constant(arg))
        if code == GLOBAL:
            stack[-1].value = Name(arg)
            found.names.add(arg)
        elif code in PERSISTENT:
            found.storages.append((arg,))
        return
    start = (marks.pop() if marked else len(stack)) - count
    if start < (marks[-1] if marks else 0):
        raise pickle.UnpicklingError("it takes what is not there")
    parts = stack[start:]
    del stack[start:]
    depth = max([part.depth for part in parts], default=0)
    size = min(sum([part.size for part in parts], 8), HUGE)
    value: Any = None
    if code in TUPLES:
        depth += 1
        if depth > DEEPEST:
            raise pickle.UnpicklingError(f"its tuples are nested deeper than {DEEPEST} levels")
        value = tuple(part.value for part in parts) if len(parts) <= 8 else None
    elif code in PAIRS:
        keys = parts[count::2] if code != SETITEM else parts[1:2]
        _spend_on_keys(keys, budget)
    elif code in SETS:
        _spend_on_keys(parts[count:], budget)
    elif code == STACK_GLOBAL:
        value = Name(f"{parts[0].value} {parts[1].value}")
        found.names.add(value)
    elif code in PERSISTENT:
        found.storages.append(parts[0].value or ())
    elif code in CALLS:
        budget.spend("copies", size)
        if code != BUILD:
            callee = Name(arg) if code == INST else parts[0].value
            found.called.add(callee if isinstance(callee, Name) else "what it made itself")
            if callee in HASHING:
                budget.spend("keys", (size - parts[0].size) // 16)
    if code in CHANGES:
        target = parts[0]
        target.depth, target.size = depth, size
        stack.append(target)
    elif pushed:
        stack.append(_Item(depth, size, value))


def _spend_on_keys(keys: list[_Item], budget: Budget) -> None:
    """A tuple's hash, and its text in a message, take as long as all that is in it, however often."""
    others = [key.size for key in keys if type(key.value) is not str]
    budget.spend("keys", len(others))
    budget.spend("copies", sum(others))


def _constant(arg: Any) -> _Item:
    if isinstance(arg, int) and arg.bit_length() > MOST_BITS:
        raise pickle.UnpicklingError(f"it holds an integer of {arg.bit_length():,} bits")
    if isinstance(arg, (str, bytes, bytearray, _Skipped)):
        return _Item(0, len(arg) + 8, arg if isinstance(arg, str) else None)
    return _Item(0, 8, arg)
