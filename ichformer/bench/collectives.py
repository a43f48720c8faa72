"""The collectives of a compiled step, read from the text of its optimised HLO module."""

import re
from dataclasses import dataclass
from math import prod

_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8}

_COMPUTATION = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|condition|to_apply|calls)=%([\w.\-]+)")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One line of a module: ``%name = type kind(operands), attributes``."""

    name: str
    type: str
    kind: str
    rest: str

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the operands."""
        return tuple(re.findall(r"%([\w.\-]+)", self.rest.partition("), ")[0]))


@dataclass(frozen=True, kw_only=True)
class Collective:
    """One collective: an exchange between devices.

    Attributes:
      kind: "all-gather", "all-reduce", "reduce-scatter", "all-to-all" or "collective-permute".
      result_bytes: size of its result on each device.
      devices: that take part in it together.
      times: it runs in a step.
    """

    kind: str
    result_bytes: int
    devices: int
    times: int

    @property
    def sent_bytes(self) -> float:
        """Bytes that each device sends in a step, with the ring algorithms of Thakur, Rabenseifner & Gropp 2005
        ("Optimization of collective communication operations in MPICH"), sections 3.1 and 4: of a result of R bytes on
        n devices, (n-1)/n R for all-gather and all-to-all, 2 (n-1)/n R for all-reduce, (n-1) R for reduce-scatter,
        whose result is one share, and R for a permutation.
        """
        n = self.devices
        factor = {
            "all-gather": (n - 1) / n,
            "all-to-all": (n - 1) / n,
            "all-reduce": 2 * (n - 1) / n,
            "reduce-scatter": n - 1.0,
            "collective-permute": 1.0,
        }[self.kind]
        return factor * self.result_bytes * self.times


def computations(hlo: str) -> tuple[dict[str, list[Instruction]], str]:
    """The computations of a module (``compiled.as_text()``) by name, and the name of the one that it starts with."""
    found: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in hlo.splitlines():
        if head := _COMPUTATION.match(line):
            current = head[2]
            found[current] = []
            entry = current if head[1] else entry
        elif current is not None and (parts := _INSTRUCTION.match(line)):
            found[current].append(Instruction(name=parts[1], type=parts[2], kind=parts[3], rest=parts[4]))
    return found, entry


def collectives(hlo: str, *, devices: int) -> list[Collective]:
    """The collectives of a compiled module; those in a loop count as often as it runs.

    Args:
      hlo: ``compiled.as_text()``.
      devices: that the module runs on.
    """
    found, entry = computations(hlo)
    seen: list[Collective] = []

    def walk(name: str, times: int) -> None:
        for each in found[name]:
            kind = each.kind.removesuffix("-start")
            if kind in _KINDS:
                group = devices if kind == "collective-permute" else _group(each.rest, devices)
                if group > 1:
                    size = _result_bytes(each, kind)
                    seen.append(Collective(kind=kind, result_bytes=size, devices=group, times=times))
            elif each.kind in ("while", "call", "conditional", "async-start"):
                turns = _TURNS.search(each.rest) if each.kind == "while" else None
                for called in _CALLED.findall(each.rest):
                    walk(called, times * (int(turns[1]) if turns else 1))

    walk(entry, 1)
    return seen


def reads(hlo: str, kind: str, argument: str) -> list[str]:
    """The instructions of a kind whose operands follow, over however many others, from an argument of the step.

    A loop counts as one instruction that reads all it is given.

    Args:
      hlo: ``compiled.as_text()``.
      kind: for instance "all-gather".
      argument: the beginning of the argument's path, for instance "state.opt_state".
    """
    found, entry = computations(hlo)
    tainted: set[str] = set()
    hits = []
    for each in found[entry]:  # scheduled: what is read stands before
        own = each.kind == "parameter" and f'op_name="{argument}' in each.rest
        if own or tainted & set(each.operands):
            tainted.add(each.name)
            inside = [i.kind for called in _CALLED.findall(each.rest) for i in found.get(called, [])]
            if not own and kind in (each.kind.removesuffix("-start"), *inside):
                hits.append(each.name)
    return hits


def _result_bytes(instruction: Instruction, kind: str) -> int:
    arrays = _ARRAY.findall(instruction.type)
    if instruction.kind.endswith("-start") and kind == "all-gather":
        arrays = arrays[len(arrays) // 2 :]  # operands stand before results
    elif instruction.kind.endswith("-start") and kind == "collective-permute":
        arrays = arrays[1:2]
    return sum(_BYTES[dtype] * prod(int(n) for n in shape.split(",") if n) for dtype, shape in arrays)


def _group(rest: str, devices: int) -> int:
    """How many devices take part together, in the three notations of ``replica_groups``."""
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return len(listed[1].split(","))
    if shaped := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(shaped[1])
    return devices
