//! The boundary towards browsers: under which host names octo answers, from which origins its cookie is taken, and the cookie itself.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE as COOKIE_HEADER, HOST, HeaderName, ORIGIN};
use url::Url;

use crate::config::AuthSettings;

/// The cookie that holds the token.
pub const COOKIE: &str = "auth_token";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Rules for requests that come from browsers.
#[derive(Debug, Clone)]
pub struct Browser {
    hosts: Vec<String>,
    origins: Vec<String>,
    allow_plain_http: bool,
}

/// What a request says about the page it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// No `Origin`.
    Unknown,
    /// octo's own, or a configured one.
    Allowed,
    /// Any other, `null` included.
    Foreign,
}

impl Browser {
    /// The rules of a configuration, listening on `host`.
    #[must_use]
    pub fn new(settings: &AuthSettings, host: &str) -> Self {
        let origins: Vec<String> = settings.allowed_origins.iter().map(|o| normal_origin(o).unwrap_or_else(|| o.clone())).collect();
        let from_origins = origins.iter().filter_map(|o| Url::parse(o).ok()?.host_str().map(str::to_owned));
        let hosts = settings.allowed_hosts.iter().cloned().chain([host.to_owned()]).chain(from_origins);
        Self {
            hosts: hosts.map(|h| h.trim_end_matches('.').to_ascii_lowercase()).collect(),
            origins,
            allow_plain_http: settings.allow_plain_http,
        }
    }

    /// Origins that were configured, for CORS.
    #[must_use]
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Whether octo answers under the name in `Host` (or in an absolute request line). A page that rebinds its own name to octo's
    /// address sends its own name here; addresses and loopback names cannot be rebound.
    #[must_use]
    pub fn host_allowed(&self, host: &str) -> bool {
        let Some(name) = host_name(host) else { return false };
        name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost") || self.hosts.contains(&name)
    }

    /// Whether the request's page may use octo.
    pub(super) fn page(&self, headers: &HeaderMap) -> Page {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Page::Unknown };
        let Some(origin) = origin.to_str().ok().filter(|_| origins.next().is_none()).and_then(normal_origin) else { return Page::Foreign };
        let own = header(headers, &HOST).is_some_and(|host| {
            let scheme = if origin.starts_with("https:") { "https" } else { "http" };
            self.host_allowed(host) && normal_origin(&format!("{scheme}://{host}")).as_ref() == Some(&origin)
        });
        if own || self.origins.contains(&origin) { Page::Allowed } else { Page::Foreign }
    }

    /// Whether a request that carries the cookie and changes something comes from a page that may.
    pub(super) fn may_mutate(&self, headers: &HeaderMap) -> bool {
        match (self.page(headers), header(headers, &SEC_FETCH_SITE)) {
            (Page::Foreign, _) | (Page::Unknown, None) => false,
            (Page::Unknown, Some(site)) => site == "same-origin",
            (Page::Allowed, None | Some("same-origin")) => true,
            // A configured origin may be another site; octo's own page never is.
            (Page::Allowed, Some(_)) => header(headers, &ORIGIN).and_then(normal_origin).is_some_and(|o| self.origins.contains(&o)),
        }
    }

    /// Whether the request says that it comes from another page than octo's own or a configured one.
    #[must_use]
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        self.page(headers) == Page::Foreign
    }

    /// Whether the token would cross the network in the clear: a page over http from another machine.
    #[must_use]
    pub fn is_exposed(&self, headers: &HeaderMap) -> bool {
        let plain = header(headers, &ORIGIN).is_some_and(|o| o.to_ascii_lowercase().starts_with("http:"));
        plain && !self.allow_plain_http && !forwarded_https(headers) && !is_local(headers)
    }

    /// The `Set-Cookie` value that keeps `token` for `age`.
    #[must_use]
    pub fn cookie(&self, headers: &HeaderMap, token: &str, age: Duration) -> String {
        let https = forwarded_https(headers) || header(headers, &ORIGIN).is_some_and(|o| o.to_ascii_lowercase().starts_with("https:"));
        let secure = https || !(is_local(headers) || self.allow_plain_http);
        let secure = if secure { "; Secure" } else { "" };
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", age.as_secs())
    }
}

/// The token in the cookies; `Err` when there are several, of which one was set by somebody else.
pub(super) fn cookie_token(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let pairs = headers.get_all(COOKIE_HEADER).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    let mut tokens = pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    let first = tokens.next();
    if first.is_some() && tokens.any(|other| Some(other) != first) { Err(()) } else { Ok(first.filter(|t| !t.is_empty())) }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn forwarded_https(headers: &HeaderMap) -> bool {
    header(headers, &X_FORWARDED_PROTO).is_some_and(|p| p.eq_ignore_ascii_case("https"))
}

fn is_local(headers: &HeaderMap) -> bool {
    let name = header(headers, &HOST).and_then(host_name).unwrap_or_default();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// `scheme://host[:port]` in its normal form, if it is an http origin and nothing else.
fn normal_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && bare).then(|| url.origin().ascii_serialization())
}

/// The name in a `Host` value, in lower case, without port, brackets and trailing dot.
fn host_name(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok()?;
    if host.contains('@') {
        return None;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn browser() -> Browser {
        let settings = AuthSettings {
            jwt_secret: None,
            allowed_origins: vec!["https://app.example.com/".into()],
            allowed_hosts: vec!["octo.example.com".into()],
            query_token: false,
            token_lifetime: Duration::from_secs(60),
            allow_plain_http: false,
        };
        Browser::new(&settings, "127.0.0.1")
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn octo_answers_under_names_that_cannot_be_rebound() {
        for good in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8080",
            "10.1.2.3",
            "octo.example.com",
            "octo.example.com.:443",
            "app.example.com",
        ] {
            assert!(browser().host_allowed(good), "{good}");
        }
        for bad in [
            "evil.example",
            "octo.example.com.evil.example",
            "evil-octo.example.com",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "a b",
            "u@localhost",
            "localhost/x",
            "x:y:z",
        ] {
            assert!(!browser().host_allowed(bad), "{bad}");
        }
    }

    #[test]
    fn only_octos_own_and_configured_pages_are_allowed() {
        for (host, origin, want) in [
            ("localhost:8080", "http://localhost:8080", Page::Allowed),
            ("localhost", "http://localhost:80", Page::Allowed),
            ("octo.example.com", "https://octo.example.com", Page::Allowed),
            ("octo.example.com:443", "https://octo.example.com", Page::Allowed),
            ("localhost:8080", "https://app.example.com", Page::Allowed),
            ("localhost:8080", "http://app.example.com", Page::Foreign),
            ("localhost:8080", "http://localhost:8081", Page::Foreign),
            ("localhost:8080", "null", Page::Foreign),
            ("localhost:8080", "", Page::Foreign),
            ("localhost:8080", "http://localhost:8080.evil.example", Page::Foreign),
            ("localhost:8080", "http://evil.example", Page::Foreign),
            ("evil.example", "http://evil.example", Page::Foreign),
            ("localhost:8080", "http://localhost:8080/path", Page::Foreign),
            ("localhost:8080", "file://localhost:8080", Page::Foreign),
        ] {
            assert_eq!(browser().page(&headers(&[("host", host), ("origin", origin)])), want, "{origin} at {host}");
        }
    }

    #[test]
    fn the_cookie_changes_things_only_from_the_same_origin() {
        let host = ("host", "localhost:8080");
        let own = ("origin", "http://localhost:8080");
        for (given, want) in [
            (vec![own], true),
            (vec![own, ("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-mode", "no-cors")], false),
            (vec![own, ("sec-fetch-site", "cross-site")], false),
            (vec![("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")], false),
            (vec![("origin", "https://app.example.com"), ("sec-fetch-site", "cross-site")], true),
        ] {
            let all: Vec<_> = given.iter().copied().chain([host]).collect();
            assert_eq!(browser().may_mutate(&headers(&all)), want, "{given:?}");
        }
    }

    #[test]
    fn the_cookie_is_secure_wherever_it_could_be() {
        let cookie = |pairs: &[(&str, &str)]| browser().cookie(&headers(pairs), "t", Duration::from_secs(9));
        assert_eq!(cookie(&[("host", "localhost:8080")]), "auth_token=t; Path=/; HttpOnly; SameSite=Lax; Max-Age=9");
        for secure in [
            &[("host", "octo.example.com")][..],
            &[("host", "localhost"), ("x-forwarded-proto", "https")],
            &[("host", "localhost"), ("origin", "https://localhost")],
        ] {
            assert!(cookie(secure).ends_with("; Secure"), "{secure:?}");
        }
        assert!(browser().is_exposed(&headers(&[("host", "10.0.0.1:8080"), ("origin", "http://10.0.0.1:8080")])));
        assert!(!browser().is_exposed(&headers(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")])));
        assert!(!browser().is_exposed(&headers(&[("host", "10.0.0.1:8080")])));
    }

    #[test]
    fn a_second_cookie_of_the_same_name_is_refused() {
        assert_eq!(cookie_token(&headers(&[("cookie", "a=1; auth_token=x; b=2")])), Ok(Some("x")));
        assert_eq!(cookie_token(&headers(&[("cookie", "xauth_token=x; auth_token=")])), Ok(None));
        assert_eq!(cookie_token(&headers(&[("cookie", "auth_token=x; auth_token=y")])), Err(()));
    }
}
