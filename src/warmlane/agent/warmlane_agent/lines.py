"""Log messages out of what a block prints, whatever it is."""

from __future__ import annotations

from json.encoder import encode_basestring as quote

PIECE = 1024 * 1024
"""The longest text of one message, in bytes of what was printed."""


class Lines:
    """One stream. A line comes when its newline does; one that is too long in pieces, all but the last `partial`."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._rest = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The messages that these bytes complete, each a line of JSON."""
        *ends, rest = data.split(b"\n")
        messages: list[bytes] = []
        for end in ends:
            self._rest += end
            messages += self._pieces()
            messages.append(self._message(self._rest))
            self._rest.clear()
        self._rest += rest
        return b"".join(messages + self._pieces())

    def last(self) -> bytes:
        """What is left when nothing more comes."""
        return self._message(self._rest) if self._rest else b""

    def _pieces(self) -> list[bytes]:
        """What of a line too long can go; at least a byte stays for the last piece."""
        messages: list[bytes] = []
        while len(self._rest) > PIECE:
            # Never inside of a character; four bytes that could all be inside of one are none
            cut = next((at for at in range(PIECE, PIECE - 4, -1) if self._rest[at] & 0xC0 != 0x80), PIECE)
            messages.append(self._message(self._rest[:cut], partial=True))
            del self._rest[:cut]
        return messages

    def _message(self, text: bytearray, partial: bool = False) -> bytes:
        # By hand, for there may be millions: many times as fast as json.dumps of a dict
        said = f'{{"log": "{self._stream}", "text": {quote(text.decode("utf-8", "backslashreplace"))}'
        return (said + (', "partial": true}\n' if partial else "}\n")).encode()
