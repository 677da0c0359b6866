//! Spans as OTLP has them.

use octo_protocol::trace::{Attribute, Span, SpanKind};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status, span};
use std::collections::BTreeMap;

/// Whose a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Octo,
    Runner,
    Eavs,
}

impl Component {
    /// The service that it is to a collector, where octo itself is called `name`.
    #[must_use]
    pub fn service(self, name: &str) -> String {
        match self {
            Self::Octo => name.to_owned(),
            Self::Runner => format!("{name}-runner"),
            Self::Eavs => format!("{name}-eavs"),
        }
    }
}

/// One request with all of these spans, of the instance `instance` that is called `name`.
#[must_use]
pub fn request(spans: Vec<(Component, Span)>, name: &str, instance: &str) -> ExportTraceServiceRequest {
    let mut by_component: BTreeMap<Component, Vec<OtlpSpan>> = BTreeMap::new();
    for (component, span) in spans {
        by_component.entry(component).or_default().push(otlp(span));
    }
    let resource_spans = by_component.into_iter().map(|(component, spans)| {
        let attributes = vec![
            text("service.name", component.service(name)),
            text("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            text("service.instance.id", instance.to_owned()),
        ];
        let scope = InstrumentationScope { name: "octo".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() };
        ResourceSpans {
            resource: Some(Resource { attributes, ..Default::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }],
            ..Default::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn text(key: &str, value: String) -> KeyValue {
    pair(key.to_owned(), any_value::Value::StringValue(value))
}

fn pair(key: String, value: any_value::Value) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn otlp(from: Span) -> OtlpSpan {
    let attribute = |(key, value)| {
        pair(
            key,
            match value {
                Attribute::Flag(flag) => any_value::Value::BoolValue(flag),
                Attribute::Number(number) => any_value::Value::IntValue(number),
                Attribute::Text(text) => any_value::Value::StringValue(text),
            },
        )
    };
    let kind = match from.kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
    };
    let (code, message) = from.error.map_or((StatusCode::Unset, String::new()), |error| (StatusCode::Error, error));
    OtlpSpan {
        trace_id: from.trace.bytes().to_vec(),
        span_id: from.span.bytes().to_vec(),
        parent_span_id: from.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
        name: from.name,
        kind: kind.into(),
        start_time_unix_nano: from.start,
        end_time_unix_nano: from.end,
        attributes: from.attributes.into_iter().map(attribute).collect(),
        events: from
            .events
            .into_iter()
            .map(|event| span::Event { time_unix_nano: event.at, name: event.name, ..Default::default() })
            .collect(),
        links: from
            .links
            .into_iter()
            .map(|link| span::Link { trace_id: link.trace.bytes().to_vec(), span_id: link.span.bytes().to_vec(), ..Default::default() })
            .collect(),
        status: Some(Status { message, code: code.into() }),
        // Of the flags, that the trace is sampled.
        flags: 1,
        ..Default::default()
    }
}
