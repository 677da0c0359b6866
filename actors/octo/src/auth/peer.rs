//! Who is at the other end of the admin socket: the kernel's word, not theirs.

use super::authenticator::AuthError;
use super::principal::Principal;

/// The process that connected to the admin socket, as of the moment it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketPeer {
    /// Its user.
    pub uid: u32,
    /// Its process.
    pub pid: Option<i32>,
    /// Whether that user may administer octo: octo's own, root, or a member of the configured group.
    pub admitted: bool,
}

impl SocketPeer {
    /// The admin that it is.
    ///
    /// # Errors
    /// [`AuthError::NotAdmitted`].
    pub fn principal(&self) -> Result<Principal, AuthError> {
        let operator = if self.admitted { Principal::operator() } else { None };
        operator.ok_or(AuthError::NotAdmitted(self.uid))
    }
}
