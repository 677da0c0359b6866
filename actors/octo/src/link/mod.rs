//! The control plane's side of the runner link.
