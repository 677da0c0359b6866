//! `[telemetry]`: which collector gets the traces, and how it is told who sends.

use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::load::{Config, Problem};

/// `[telemetry]`, when it names a collector.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// Where the collector takes traces, path included.
    pub endpoint: Url,
    /// What it wants to know of whoever sends. Every value is a secret.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// Which part of the traces that octo begins is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// What octo is called there.
    pub service_name: String,
}

/// The endpoint as it was written, with the path that OTLP has when it names none.
fn endpoint(text: &str) -> Result<Url, String> {
    let mut url: Url = text.parse().map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("takes a URL of http or https: octo speaks OTLP over HTTP".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a password: put it into telemetry.otlp_headers".to_owned());
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1/traces");
    }
    Ok(url)
}

/// `name=value` pairs with commas between them, as OpenTelemetry has them.
fn headers(text: &str) -> Result<Vec<(HeaderName, SecretString)>, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        http::HeaderValue::from_str(value).ok()?;
        Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, SecretString::from(value.to_owned())))
    };
    let pairs = text.split(',').filter(|text| !text.trim().is_empty());
    // What is wrong with it is not shown: it is a secret.
    pairs.map(|text| pair(text).ok_or_else(|| "takes name=value pairs with commas between them".to_owned())).collect()
}

impl Config {
    pub(super) fn telemetry(&self, problems: &mut Vec<Problem>) -> Option<TelemetrySettings> {
        let given = self.secret("telemetry.otlp_headers", problems);
        let mut wrong = |key: &str, what: &str| problems.push(self.problem(key, what));
        let sample_ratio = self.number("telemetry.sample_ratio").unwrap_or(1.0);
        if sample_ratio > 1.0 {
            wrong("telemetry.sample_ratio", "is a part of all traces: a number from 0 to 1");
        }
        let headers = given.map_or(Ok(Vec::new()), |text| headers(text.expose_secret()));
        let headers = headers.map_err(|what| wrong("telemetry.otlp_headers", &what)).unwrap_or_default();
        let endpoint = endpoint(self.text("telemetry.otlp_endpoint")?).map_err(|what| wrong("telemetry.otlp_endpoint", &what)).ok()?;
        let service_name = self.text("telemetry.service_name").unwrap_or("octo").to_owned();
        Some(TelemetrySettings { endpoint, headers, sample_ratio, service_name })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_endpoint_gets_the_path_of_otlp_unless_it_has_one_and_holds_no_secret() {
        let url = |text: &str| endpoint(text).map(|url| url.to_string());
        assert_eq!(url("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(url("https://collector.example/otlp/v1/traces").unwrap(), "https://collector.example/otlp/v1/traces");
        for bad in ["collector:4317", "grpc://collector", "http://", "http://me:secret@collector"] {
            let what = url(bad).unwrap_err();
            assert!(!what.contains("secret"), "{what}");
        }
    }

    #[test]
    fn headers_are_pairs_and_what_is_wrong_with_them_is_said_without_them() {
        let pairs = headers("authorization=Bearer a=b , x-team = blue,").unwrap();
        let shown: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(shown, [("authorization", "Bearer a=b"), ("x-team", "blue")]);
        for bad in ["secret", "a b=secret", "x=sec\nret"] {
            assert!(!headers(bad).unwrap_err().contains("sec"), "{bad}");
        }
    }
}
