"""What of a foreign text may reach a terminal: letters, and nothing that steers it.

Whoever shows a block's log lines, a plan's names or a host's words to a person passes them through `visible`.
"""

from __future__ import annotations

_STEERING = [
    *(code for code in range(0x20) if code != 0x09),
    *range(0x7F, 0xA0),  # DEL and C1: some terminals take U+009B for ESC [
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # writing direction
    *(0x2028, 0x2029),  # line and paragraph separator
    0xFEFF,
    *range(0xD800, 0xE000),  # surrogates, which no stream can encode
]
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _STEERING}


def visible(text: str) -> str:
    """The text on one line, with control characters as `\\x1b`, `\\u202e`. Tabs stay."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def visible_lines(text: str) -> list[str]:
    """The lines of a text of our own, in which foreign words may stand."""
    return [visible(line) for line in text.split("\n")]
