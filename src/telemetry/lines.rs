//! Adds the id of the trace to lines of the log.

use std::fmt;

use opentelemetry::trace::{TraceContextExt, TraceId};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The end of a line, to which the id is added.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// The closing brace of a JSON object.
    Json,
    /// A field.
    Text,
}

/// A format that adds the id of the trace, if there is one.
pub(super) struct WithTrace<F> {
    lines: F,
    ending: Ending,
}

impl<F> WithTrace<F> {
    pub(super) fn new(lines: F, ending: Ending) -> Self {
        WithTrace { lines, ending }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let trace = opentelemetry::Context::map_current(|current| current.span().span_context().trace_id());
        if trace == TraceId::INVALID {
            return self.lines.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        add(&mut line, self.ending, trace);
        writer.write_str(&line)
    }
}

fn add(line: &mut String, ending: Ending, trace: TraceId) {
    line.truncate(line.trim_end().len());
    match ending {
        Ending::Json => {
            line.truncate(line.strip_suffix('}').unwrap_or(line).len());
            line.push_str(&format!(",\"trace_id\":\"{trace}\"}}"));
        }
        Ending::Text => line.push_str(&format!(" trace_id={trace}")),
    }
    line.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_at_the_end_of_a_line() {
        let trace = TraceId::from_hex("5bd66ef5095369c7b0d1f8f4bd33716a").unwrap();
        let mut line = "{\"message\":\"a }\"}\n".to_owned();
        add(&mut line, Ending::Json, trace);
        assert_eq!(line, "{\"message\":\"a }\",\"trace_id\":\"5bd66ef5095369c7b0d1f8f4bd33716a\"}\n");
        let mut line = "INFO created name=\"payments\"\n".to_owned();
        add(&mut line, Ending::Text, trace);
        assert_eq!(line, "INFO created name=\"payments\" trace_id=5bd66ef5095369c7b0d1f8f4bd33716a\n");
    }
}
