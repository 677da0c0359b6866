//! What the control plane owns, on disk.
