//! Tokens to words by the rules of Whisper's tokenizer. Pure.
