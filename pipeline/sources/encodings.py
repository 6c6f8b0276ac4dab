"""How a text file is encoded: one whose bytes can be cut at separators and line ends, or one that is read as UTF-8 first."""

from __future__ import annotations

import codecs
from functools import cache

from pipeline.errors import ConfigError, ContractError


def check_encoding(name: str) -> None:
    """Refuse an encoding that does not exist.

    Raises:
        ConfigError: Naming it.
    """
    try:
        "".encode(name)
    except LookupError as error:
        raise ConfigError(
            asked=f"options.encoding = '{name}'", found="no such encoding", mend="for example utf-8, latin-1, cp1252, utf-16"
        ) from error


def readable(encoding: str, data: bytes, file: str) -> tuple[str, bytes]:
    """A file in an encoding in which separators and line ends are single bytes: UTF-16 and its like become UTF-8.

    Raises:
        ContractError: It is not in that encoding.
    """
    if _line_by_line(encoding):
        return encoding, data
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ContractError(asked=f"read {file} as {encoding}", found=str(error), mend="correct options.encoding") from error
    return "utf-8", text.removeprefix("\ufeff").encode()


@cache
def _line_by_line(encoding: str) -> bool:
    """Whether a byte of ASCII is always that character: in UTF-8, and where each character is one byte."""
    if codecs.lookup(encoding).name in ("utf-8", "ascii"):
        return True
    plain = all(chr(i).encode(encoding, "ignore") == bytes([i]) for i in range(128))
    return plain and all(len(letter.encode(encoding, "ignore")) <= 1 for letter in "Ж中あ한")
