//! The workers of one loaded model and their fair queue.
