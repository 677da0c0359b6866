//! Which program this process runs, and with which arguments.

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The argument that names the document of the program before.
pub const HANDOVER: &str = "--handover";
/// The argument of a program that is only asked whether it can go on.
pub const EXAMINE: &str = "--examine";

/// Where the program is found again, and what it was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's own, to be called at its start: later the kernel names a file that is not there any more when the program was installed anew.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        let running = std::env::current_exe()?;
        let mut words = std::env::args_os();
        // As it was called, when that is the same file: a link to the newest version is to be followed anew.
        let called = words.next().map(PathBuf::from).filter(|path| path.components().count() > 1).and_then(|p| std::path::absolute(p).ok());
        let path = called.filter(|path| same_file(path, &running)).unwrap_or(running);
        Ok(Self { path, arguments: without_handover(words) })
    }

    /// The arguments of the next program.
    #[must_use]
    pub fn arguments(&self, document: RawFd) -> Vec<OsString> {
        let mut arguments = self.arguments.clone();
        arguments.extend([HANDOVER.into(), document.to_string().into()]);
        arguments
    }

    /// The arguments of the next program when it is only asked, with the document as its standard input.
    #[must_use]
    pub fn question(&self) -> Vec<OsString> {
        let mut arguments = self.arguments(0);
        arguments.push(EXAMINE.into());
        arguments
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

fn without_handover(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut kept, mut words) = (Vec::new(), words);
    while let Some(word) = words.next() {
        if word == HANDOVER {
            words.next();
        } else if word != EXAMINE {
            kept.push(word);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_next_program_gets_the_arguments_of_the_first_and_one_document() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let first = Program { path: "/p".into(), arguments: without_handover(words("serve --user alice --foreground").into_iter()) };
        let second = Program { path: "/p".into(), arguments: without_handover(first.arguments(17).into_iter()) };
        assert_eq!(second, first);
        assert_eq!(second.arguments(5), words("serve --user alice --foreground --handover 5"));
        assert_eq!(second.question(), words("serve --user alice --foreground --handover 0 --examine"));
    }

    #[test]
    fn a_test_knows_its_own_program() {
        let found = Program::of_this_process().unwrap();
        assert!(found.path.is_absolute() && same_file(&found.path, &std::env::current_exe().unwrap()));
    }
}
