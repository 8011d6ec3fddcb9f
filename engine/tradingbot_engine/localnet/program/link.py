"""
Link one object of upstream clang's BPF target into a program file for the Solana VM (SBPF version 0).

Solana's own toolchain does this with a patched lld; for one freestanding object a short script does, and its output depends
on nothing but its input. Supported: `.text`, `.rodata*`, calls of undefined symbols (syscalls), addresses of constants.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path

TEXT_AT = 0x120
"""File offset and address of the code: behind the file header and four program headers."""
PROGRAM_BASE = 0x1_0000_0000
"""Where the VM maps the file."""
R_BPF_64_64 = 1
R_BPF_64_32 = 10
MACHINE_BPF = 247
SHT_PROGBITS, SHT_STRTAB, SHT_DYNAMIC, SHT_REL, SHT_DYNSYM = 1, 3, 6, 9, 11


class LinkError(Exception):
    """The object uses something that this linker does not support; the message names it."""


@dataclass(frozen=True)
class Section:
    """One section of the object: its bytes and, for relocations and symbols, the index of the section that it links to."""

    name: str
    data: bytes
    link: int


@dataclass(frozen=True)
class Symbol:
    """One symbol: `section` 0 means undefined, so a syscall."""

    name: str
    section: int
    value: int


def _text_at(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode("ascii")


def _aligned(offset: int, to: int = 8) -> int:
    return offset + -offset % to


def read_object(obj: bytes) -> tuple[list[Section], list[Symbol]]:
    """Return the sections and symbols of a 64-bit little-endian relocatable object."""
    if obj[:6] != b"\x7fELF\x02\x01":
        raise LinkError("not a 64-bit little-endian ELF object")
    table_at = struct.unpack_from("<Q", obj, 0x28)[0]
    count, names_index = struct.unpack_from("<HH", obj, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", obj, table_at + 64 * index) for index in range(count)]
    names = obj[headers[names_index][4] :]
    sections = [
        Section(
            _text_at(names, header[0]), b"" if header[1] == 8 else obj[header[4] : header[4] + header[5]], header[6]
        )
        for header in headers
    ]
    table = next(section for section in sections if section.name == ".symtab")
    strings = sections[table.link].data
    rows = struct.iter_unpack("<IBBHQQ", table.data)
    return sections, [Symbol(_text_at(strings, row[0]), row[3], row[4]) for row in rows]


def link(obj: bytes) -> bytes:
    """
    Return the program file for `obj`.

    Raises:
        LinkError: A section or relocation that is not supported, or no symbol `entrypoint`.
    """
    sections, symbols = read_object(obj)
    text = bytearray(next(section.data for section in sections if section.name == ".text"))
    constants, constant_at = b"", {}
    for index, section in enumerate(sections):
        if section.name.startswith(".rodata"):
            constants += bytes(-len(constants) % 16)
            constant_at[index] = len(constants)
            constants += section.data
        elif section.name.startswith((".data", ".bss")) and section.data:
            raise LinkError(f"section {section.name}: writable globals are not supported")
    constants_at = _aligned(TEXT_AT + len(text))

    syscalls: list[str] = []
    calls: list[tuple[int, int]] = []
    relocations = next((section.data for section in sections if section.name == ".rel.text"), b"")
    for offset, info in struct.iter_unpack("<QQ", relocations):
        symbol, kind = symbols[info >> 32], info & 0xFFFFFFFF
        if kind == R_BPF_64_32 and symbol.section == 0:
            if symbol.name not in syscalls:
                syscalls.append(symbol.name)
            calls.append((TEXT_AT + offset, (syscalls.index(symbol.name) + 1) << 32 | R_BPF_64_32))
        elif kind == R_BPF_64_64 and symbol.section in constant_at:
            addend = struct.unpack_from("<I", text, offset + 4)[0]
            address = PROGRAM_BASE + constants_at + constant_at[symbol.section] + symbol.value + addend
            struct.pack_into("<I", text, offset + 4, address & 0xFFFFFFFF)
            struct.pack_into("<I", text, offset + 12, address >> 32)
        else:
            raise LinkError(
                f"relocation {kind} against {symbol.name or 'a section'} is not supported (inline the function?)"
            )
    entry = next((symbol.value for symbol in symbols if symbol.name == "entrypoint"), None)
    if entry is None:
        raise LinkError("no symbol `entrypoint`")
    return _write(bytes(text), constants, constants_at, syscalls, calls, TEXT_AT + entry)


def _write(
    text: bytes, constants: bytes, constants_at: int, syscalls: list[str], calls: list[tuple[int, int]], entry: int
) -> bytes:
    names, name_at = b"\0", []
    for syscall in syscalls:
        name_at.append(len(names))
        names += syscall.encode() + b"\0"
    symbols = bytes(24) + b"".join(struct.pack("<IBBHQQ", offset, 0x10, 0, 0, 0, 0) for offset in name_at)
    relocations = b"".join(struct.pack("<QQ", *call) for call in calls)

    dynamic_at = _aligned(constants_at + len(constants))
    symbols_at = dynamic_at + 10 * 16
    names_at = symbols_at + len(symbols)
    relocations_at = _aligned(names_at + len(names))
    section_names_at = relocations_at + len(relocations)
    tags = (
        (0x1E, 4),  # FLAGS: TEXTREL
        (0x11, relocations_at),
        (0x12, len(relocations)),
        (0x13, 16),
        (6, symbols_at),
        (0x0B, 24),
        (5, names_at),
        (0x0A, len(names)),
        (0x16, 0),
        (0, 0),
    )
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)

    first_dynamic = 3 if constants else 2
    sections = [("", 0, 0, 0, b"", 0, 0, 0, 0), (".text", SHT_PROGBITS, 6, TEXT_AT, text, 0, 0, 8, 0)]
    if constants:
        sections.append((".rodata", SHT_PROGBITS, 2, constants_at, constants, 0, 0, 8, 0))
    sections += [
        (".dynamic", SHT_DYNAMIC, 3, dynamic_at, dynamic, first_dynamic + 2, 0, 8, 16),
        (".dynsym", SHT_DYNSYM, 2, symbols_at, symbols, first_dynamic + 2, 1, 8, 24),
        (".dynstr", SHT_STRTAB, 2, names_at, names, 0, 0, 1, 0),
        (".rel.dyn", SHT_REL, 2, relocations_at, relocations, first_dynamic + 1, 0, 8, 16),
    ]
    section_names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections[1:]) + b".shstrtab\0"
    sections.append((".shstrtab", SHT_STRTAB, 0, section_names_at, section_names, 0, 0, 1, 0))
    table_at = _aligned(section_names_at + len(section_names))

    segments = [(1, 5, TEXT_AT, len(text))]
    if constants:
        segments.append((1, 4, constants_at, len(constants)))
    segments += [(1, 4, symbols_at, section_names_at - symbols_at), (2, 6, dynamic_at, len(dynamic))]

    out = bytearray(table_at + 64 * len(sections))
    out[:16] = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    struct.pack_into(
        "<HHIQQQIHHHHHH",
        out,
        16,
        3,
        MACHINE_BPF,
        1,
        entry,
        64,
        table_at,
        0,
        64,
        56,
        len(segments),
        64,
        len(sections),
        len(sections) - 1,
    )
    for index, (kind, flags, at, size) in enumerate(segments):
        struct.pack_into(
            "<IIQQQQQQ", out, 64 + 56 * index, kind, flags, at, at, at, size, size, 0x1000 if kind == 1 else 8
        )
    for index, (name, kind, flags, at, data, link_to, info, alignment, entry_size) in enumerate(sections):
        out[at : at + len(data)] = data if index else b""
        name_offset = section_names.index(b"\0" + name.encode() + b"\0") + 1 if name else 0
        address = 0 if name == ".shstrtab" else at
        struct.pack_into(
            "<IIQQQQIIQQ",
            out,
            table_at + 64 * index,
            name_offset,
            kind,
            flags,
            address,
            at,
            len(data),
            link_to,
            info,
            alignment,
            entry_size,
        )
    return bytes(out)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(link(Path(sys.argv[1]).read_bytes()))
