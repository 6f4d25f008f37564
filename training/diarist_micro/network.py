"""A small Whisper in PyTorch, built for training on few cores.

Only the tokens the grammar uses are trained; `export.py` spreads them over Whisper's full vocabulary. Three things
differ from the original and are invisible in the exported file:

* Position tables are fixed sinusoids of a wide range of wavelengths; the first channels are left to the content.
* The embedding of timestamp `t` is one learned linear map of row `t` of the audio position table, so all 1501
  timestamps learn together.
* Channel 0 of the last layer norm is a constant: it makes a bias per token, and pins unused tokens far down.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

AUDIO_POSITIONS, TEXT_POSITIONS, TIMESTAMPS = 1500, 448, 1501
MELS = 80
CONTENT_CHANNELS = 32  # position tables are empty there
CONSTANT_CHANNEL = 8.0  # value of the last layer norm's channel 0
MASKED = -1e4


def sinusoids(rows: int, width: int, shortest: float, longest: float, amplitude: float) -> torch.Tensor:
    """(rows, width): sines, then cosines, of wavelengths from `shortest` to `longest` rows."""
    count = (width - CONTENT_CHANNELS) // 2
    turns = 2 * math.pi / (shortest * (longest / shortest) ** (np.arange(count) / (count - 1)))
    angles = np.arange(rows)[:, None] * turns
    table = np.concatenate([np.zeros((rows, CONTENT_CHANNELS)), np.sin(angles) * amplitude, np.cos(angles) * amplitude], 1)
    return torch.tensor(table, dtype=torch.float32)


class Attention(nn.Module):
    """Plain matrix attention: on a CPU its backward pass is far cheaper than the fused one."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.value, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, x, source=None, mask=None):
        """Returns the output and the attention weights (batch, head, query, key)."""
        source = x if source is None else source
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, key, value = split(self.query(x)), split(self.key(source)), split(self.value(source))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2)), weights


class Block(nn.Module):
    def __init__(self, width: int, heads: int, cross: bool):
        super().__init__()
        self.attn, self.attn_ln = Attention(width, heads), nn.LayerNorm(width)
        if cross:
            self.cross_attn, self.cross_attn_ln = Attention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x, audio=None, mask=None):
        seen, own = self.attn(self.attn_ln(x), mask=mask)
        x = x + seen
        weights = None
        if audio is not None:
            heard, weights = self.cross_attn(self.cross_attn_ln(x), audio)
            x = x + heard
        return x + self.mlp(self.mlp_ln(x)), weights, own


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(AUDIO_POSITIONS, width, 5, 6000, 0.7))
        self.blocks = nn.ModuleList(Block(width, heads, False) for _ in range(layers))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel, offset):
        """(batch, 80, 2n) mel, (batch,) first position of each crop in the 30 s window -> (batch, n, width)."""
        gelu = lambda y: F.gelu(y, approximate="tanh")
        x = gelu(self.conv2(gelu(self.conv1(mel)))).transpose(1, 2)
        positions = offset[:, None] + torch.arange(x.shape[1], device=x.device)
        x = x + self.positional_embedding[positions.clamp(max=AUDIO_POSITIONS - 1)]
        for block in self.blocks:
            x, _, _ = block(x)
        return self.ln_post(x)


class Decoder(nn.Module):
    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.register_buffer("positional_embedding", sinusoids(TEXT_POSITIONS, width, 4, 2000, 0.3))
        self.blocks = nn.ModuleList(Block(width, heads, True) for _ in range(layers))
        self.ln = nn.LayerNorm(width)


class MicroWhisper(nn.Module):
    """`text_tokens`: rows of the text table (words and specials); timestamps follow them."""

    def __init__(self, text_tokens: int, phones: int, width=128, heads=2, encoder_layers=4, decoder_layers=3):
        super().__init__()
        layers = dict(encoder_layers=encoder_layers, decoder_layers=decoder_layers)
        self.dimensions = dict(text_tokens=text_tokens, phones=phones, width=width, heads=heads) | layers
        self.encoder = Encoder(width, heads, encoder_layers)
        self.decoder = Decoder(width, heads, decoder_layers)
        self.text_rows = nn.Parameter(torch.randn(text_tokens, width) * 0.06)
        self.timestamp_map = nn.Linear(width, width)
        nn.init.eye_(self.timestamp_map.weight)
        self.timestamp_map.weight.data *= 0.15
        nn.init.zeros_(self.timestamp_map.bias)
        self.register_buffer("timestamp_positions", sinusoids(TIMESTAMPS, width, 5, 6000, 0.7), persistent=False)
        self.phone_head, self.word_head = nn.Linear(width, phones), nn.Linear(width, width)  # training only
        learned = torch.ones(width)
        learned[0] = 0
        self.register_buffer("learned", learned, persistent=False)

    def last_norm(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the decoder's last layer norm with its constant channel."""
        weight, bias = self.decoder.ln.weight * self.learned, self.decoder.ln.bias * self.learned
        return weight, bias + (1 - self.learned) * CONSTANT_CHANNEL

    def table(self) -> torch.Tensor:
        """(text tokens + 1501, width): the rows of all tokens in use."""
        return torch.cat([self.text_rows, self.timestamp_map(self.timestamp_positions)], 0)

    def decode(self, tokens, audio, wanted=None):
        """Logits (rows, tokens) where `wanted` (batch, length) holds, everywhere without it; then per layer the weights of
        the attention to the sound and of that to the tokens so far."""
        table = self.table()
        length = tokens.shape[1]
        x = table[tokens] + self.decoder.positional_embedding[:length]
        mask = torch.full((length, length), MASKED, device=x.device, dtype=x.dtype).triu(1)
        to_sound, to_tokens = [], []
        for block in self.decoder.blocks:
            x, sound, own = block(x, audio, mask)
            to_sound.append(sound)
            to_tokens.append(own)
        x = F.layer_norm(x.float(), x.shape[-1:], *self.last_norm())
        return (x if wanted is None else x[wanted]) @ table.t(), to_sound, to_tokens

    @torch.no_grad()
    def start_local(self, pairs=20, gain=1.8, reach=((-2, 2), (-4, 4), (-3, 3), (-6, 6))):
        """Lets encoder head j of layer l begin by looking about `reach[l][j]` positions away.

        Query and key read the fastest sinusoids, the query turned by the head's reach. Without this, attention stays
        global for long and phones are learned several times more slowly.
        """
        width, heads = self.dimensions["width"], self.dimensions["heads"]
        count = (width - CONTENT_CHANNELS) // 2
        turns = 2 * math.pi / (5 * 1200 ** (np.arange(count) / (count - 1)))
        for layer, block in enumerate(self.encoder.blocks):
            query, key = block.attn.query.weight, block.attn.key.weight
            block.attn.query.bias.zero_()
            query *= 0.5
            key *= 0.5
            for head in range(heads):
                shift = reach[layer % len(reach)][head % 2]
                for i in range(min(pairs, width // heads // 2)):
                    sine, cosine = CONTENT_CHANNELS + i, CONTENT_CHANNELS + count + i
                    row = head * (width // heads) + 2 * i
                    c, s = gain * math.cos(turns[i] * shift), gain * math.sin(turns[i] * shift)
                    query[row : row + 2] = 0
                    key[row : row + 2] = 0
                    key[row, sine], key[row + 1, cosine] = gain, gain
                    query[row, sine], query[row, cosine] = c, s
                    query[row + 1, cosine], query[row + 1, sine] = c, -s
