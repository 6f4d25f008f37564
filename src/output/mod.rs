//! A transcript as the bytes of an answer.
