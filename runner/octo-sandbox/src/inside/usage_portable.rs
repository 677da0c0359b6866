//! What a tree uses, where nothing tells it: nobody is ended for it.

use std::time::Duration;

use crate::spec::{Excess, Limits};

/// Counts nothing.
#[derive(Debug)]
pub(super) enum Usage {}

impl Usage {
    pub fn watch(_: &Limits, _: bool) -> Option<Self> {
        None
    }

    pub fn patience(&self) -> Duration {
        match *self {}
    }

    pub fn look(&mut self) -> Option<Excess> {
        match *self {}
    }
}
