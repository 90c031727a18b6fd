//! Drivers: one file for each vendor.
