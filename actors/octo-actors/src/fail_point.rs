//! A panic inside an actor's message, or one that never comes to its end, at a test's will: in builds with debug assertions only, otherwise [`reached`] is nothing at all.
//!
//! Armed by a file, which `OCTO_FAIL_POINT` names when the process starts, or [`arm`] before its first actor does. The file holds three words: a
//! program, a kind, and a message or `*`, as in `octo-runner session stdout`. Whoever comes there first removes the file and panics, so that it
//! happens once and a test sees that it has; with `hang` as a fourth word it stays inside the message instead.

/// An actor of this kind is inside this message.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) async fn reached(_: &str, _: &str) {}

#[cfg(debug_assertions)]
pub use armed::arm;
#[cfg(debug_assertions)]
pub(crate) use armed::reached;

#[cfg(debug_assertions)]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static ARMED_BY: OnceLock<Option<(PathBuf, String)>> = OnceLock::new();

    fn with(file: PathBuf) -> Option<(PathBuf, String)> {
        Some((file, std::env::current_exe().ok()?.file_name()?.to_str()?.to_owned()))
    }

    /// From now on this file counts; false when another one does already, or none.
    pub fn arm(file: PathBuf) -> bool {
        ARMED_BY.set(with(file)).is_ok()
    }

    pub(crate) async fn reached(kind: &str, message: &str) {
        let hangs = match armed_here(kind, message) {
            None => return,
            Some(hangs) => hangs,
        };
        assert!(hangs, "the fail point {kind} {message} was armed");
        std::future::pending::<()>().await;
    }

    /// Whether the file names this place, and then whether it shall hang there. The file is gone afterwards.
    fn armed_here(kind: &str, message: &str) -> Option<bool> {
        let (file, program) = ARMED_BY.get_or_init(|| with(std::env::var_os("OCTO_FAIL_POINT")?.into())).as_ref()?;
        let text = std::fs::read_to_string(file).ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let (wanted, of, at, hangs) = match words.as_slice() {
            [wanted, of, at] => (wanted, of, at, false),
            [wanted, of, at, "hang"] => (wanted, of, at, true),
            _ => return None,
        };
        let here = *wanted == program && *of == kind && (*at == "*" || *at == message);
        (here && std::fs::remove_file(file).is_ok()).then_some(hangs)
    }
}
