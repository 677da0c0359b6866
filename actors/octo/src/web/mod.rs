//! The web application, embedded in the binary.
//!
//! Files with a hash in their name are cached for ever, everything else is asked for again and answered with 304. Any other path that a
//! browser navigates to gets the application's page, which routes by itself. A build without `web/dist` serves a page that says so.

mod asset;
mod headers;

pub use asset::serve;
pub use headers::{CONTENT_SECURITY_POLICY, security_headers};
