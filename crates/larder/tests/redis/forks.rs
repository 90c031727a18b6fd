//! Forks
