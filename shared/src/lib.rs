//! The words that both services speak.
