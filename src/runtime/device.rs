//! Processors and accelerators: which there are, and which is used.
