//! The token: who has it may use the bridge, and nobody else.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// The variable that holds it where there is no file.
pub const ENV_TOKEN: &str = "PI_BRIDGE_TOKEN";
/// A shorter one could be guessed.
pub const MIN_TOKEN_BYTES: usize = 16;
/// A longer one is no token.
const MAX_TOKEN_BYTES: usize = 4096;

/// Why there is no token to go by.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "there is no token, and without one whoever reaches the port could use the agent: make one (`head -c 32 /dev/urandom | base64 > FILE`, readable by \
         you alone) and say --token-file FILE, or put it into the environment as {ENV_TOKEN}"
    )]
    None,
    #[error("the token file {} cannot be read: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "the token has {0} bytes, and shorter ones than {MIN_TOKEN_BYTES} can be guessed: make a longer one, as `head -c 32 /dev/urandom | base64` does"
    )]
    Short(usize),
    #[error("the token has bytes that no header can carry, or more than {MAX_TOKEN_BYTES} of them: make one of letters and digits")]
    Unusable,
}

/// A token, of which only what is needed to know it again is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token of a file, else that of the environment.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn find(file: Option<&Path>) -> Result<Self, TokenError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|source| TokenError::File { path: path.to_owned(), source })?,
            None => std::env::var(ENV_TOKEN).unwrap_or_default(),
        };
        Self::new(&text)
    }

    /// White space around it is none of it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        match text.len() {
            0 => Err(TokenError::None),
            bytes if bytes > MAX_TOKEN_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(TokenError::Unusable),
            bytes if bytes < MIN_TOKEN_BYTES => Err(TokenError::Short(bytes)),
            _ => Ok(Self(Sha256::digest(text.as_bytes()).into())),
        }
    }

    /// Whether this is it. How long that takes says nothing of it.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.0.ct_eq(&presented).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_token_is_the_token_and_one_that_can_be_guessed_is_none() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef ", "0123456789ABCDEF"] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        assert!(matches!(Token::new(" \n"), Err(TokenError::None)));
        assert!(matches!(Token::new("short"), Err(TokenError::Short(5))));
        assert!(matches!(Token::new("0123456789 abcdef"), Err(TokenError::Unusable)));
    }
}
