"""Token numbers: Whisper's English vocabulary, and the few of its tokens that this model uses."""

import tiktoken

from . import grammar
from .ggml import Header
from .network import TIMESTAMPS

END, START, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS, FIRST_TIMESTAMP = 50256, 50257, 50360, 50361, 50362, 50363
VOCABULARY_SIZE = 51864
SPECIALS = [END, START, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS]
TIMESTAMP_STEP = 0.02  # seconds
_PIECES = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


class Tokens:
    """Text to rows of the model's table and back.

    `ids` are the used tokens in Whisper's numbering, specials last; row k of the table is `ids[k]`, and the 1501
    timestamps follow.
    """

    def __init__(self, header: Header, ids: list[int] | None = None):
        ranks = {piece: rank for rank, piece in enumerate(header.vocabulary[:END])}
        self.encoding = tiktoken.Encoding("gpt2", pat_str=_PIECES, mergeable_ranks=ranks, special_tokens={})
        self.ids = ids or self._used() + SPECIALS
        self.rows = {token: row for row, token in enumerate(self.ids)}
        self.end, self.start, self.previous, self.no_speech, self.no_timestamps = (self.rows[token] for token in SPECIALS)
        self.text_rows = len(self.ids)

    def _used(self) -> list[int]:
        pieces = [" " + form for word in grammar.vocabulary() for form in (word, word[0].upper() + word[1:])]
        return sorted({token for piece in pieces + [".", ",", "?"] for token in self.encoding.encode(piece)})

    def encode(self, text: str) -> list[int]:
        """Rows of `text` as Whisper writes it, a space first."""
        return [self.rows[token] for token in self.encoding.encode(" " + text)]

    def piece(self, row: int) -> str:
        """The text of one row; empty for specials and timestamps."""
        return self.encoding.decode([self.ids[row]]) if row < self.text_rows and self.ids[row] < END else ""

    def timestamp(self, seconds: float) -> int:
        """The row of the timestamp nearest to `seconds`."""
        return self.text_rows + min(TIMESTAMPS - 1, max(0, round(seconds / TIMESTAMP_STEP)))
