"""Token numbers: Whisper's vocabulary, and the few of its tokens that a model uses."""

import tiktoken

from .ggml import Header
from .languages import ENGLISH, LanguageSet
from .network import TIMESTAMPS

TIMESTAMP_STEP = 0.02  # seconds
_PIECES = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


class Tokens:
    """Text to rows of the model's table and back.

    `ids` are the used tokens in Whisper's numbering, specials last; row k of the table is `ids[k]`, and the 1501
    timestamps follow.
    """

    def __init__(self, header: Header, ids: list[int] | None = None, languages: LanguageSet = ENGLISH):
        numbers = languages.numbers
        self.languages, self.last_text = languages, numbers.end
        ranks = {piece: rank for rank, piece in enumerate(header.vocabulary[: numbers.end]) if piece}
        self.encoding = tiktoken.Encoding("gpt2", pat_str=_PIECES, mergeable_ranks=ranks, special_tokens={})
        specials = [numbers.end, numbers.start, numbers.previous, numbers.no_speech, numbers.no_timestamps]
        if languages.tells_language:
            specials += [numbers.translate, numbers.transcribe, *map(languages.language_token, languages.languages)]
        self.ids = ids or self._used() + specials
        self.rows = {token: row for row, token in enumerate(self.ids)}
        self.end, self.start, self.previous, self.no_speech, self.no_timestamps = (self.rows[token] for token in specials[:5])
        self.text_rows = len(self.ids)
        self.full_stop = self.rows[self.encoding.encode(".")[0]]

    def _used(self) -> list[int]:
        return sorted({token for piece in self.languages.pieces() for token in self.encoding.encode(piece)})

    def encode(self, text: str) -> list[int]:
        """Rows of `text` as Whisper writes it, a space first."""
        return [self.rows[token] for token in self.encoding.encode(" " + text)]

    def piece(self, row: int) -> str:
        """The text of one row; empty for specials and timestamps."""
        return self.encoding.decode([self.ids[row]]) if row < self.text_rows and self.ids[row] < self.last_text else ""

    def piece_bytes(self, row: int) -> bytes:
        """The bytes of one row's token, which may be a part of a letter; for a special one its place among them."""
        if self.ids[row] < self.last_text:
            return self.encoding.decode_single_token_bytes(self.ids[row])
        return b"<|%d|>" % (row - self.end)

    def timestamp(self, seconds: float) -> int:
        """The row of the timestamp nearest to `seconds`."""
        return self.text_rows + min(TIMESTAMPS - 1, max(0, round(seconds / TIMESTAMP_STEP)))

    def task(self, language: str, translate: bool) -> list[int]:
        """What a window says of its language after the start; nothing in English models."""
        if not self.languages.tells_language:
            return []
        numbers = self.languages.numbers
        wanted = [self.languages.language_token(language), numbers.translate if translate else numbers.transcribe]
        return [self.rows[token] for token in wanted]
