//! Segments of overlapping chunks to one ordered list. Pure.
