//! Counts as text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use crate::app::hook::Monitor;
use crate::app::hook::breaker::State;
use crate::worker::Counters;

/// Every count of every worker, and of every hook.
pub(super) fn render(counters: &[Arc<Counters>], hooks: &[Monitor], now: Instant) -> String {
    let mut families: BTreeMap<&'static str, Vec<(usize, u64)>> = BTreeMap::new();
    for (worker, counters) in counters.iter().enumerate() {
        for (name, count) in counters.all() {
            families.entry(name).or_default().push((worker, count));
        }
    }
    let mut text = String::new();
    for (name, counts) in families {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        line(&mut text, format_args!("# TYPE gumboot_{name} {kind}"));
        for (worker, count) in counts {
            line(&mut text, format_args!("gumboot_{name}{{worker=\"{worker}\"}} {count}"));
        }
    }
    by_label(&mut text, "sessions_closed_total", "reason", counters.iter().map(|each| each.closes()));
    by_label(&mut text, "limits_reached_total", "code", counters.iter().map(|each| each.limits()));
    by_hook(&mut text, hooks, now);
    text
}

/// Nothing where there are no hooks. The state of a breaker is 1 for the one that it is in.
fn by_hook(text: &mut String, hooks: &[Monitor], now: Instant) {
    if hooks.is_empty() {
        return;
    }
    line(text, format_args!("# TYPE gumboot_hook_calls_total counter"));
    for hook in hooks {
        let name = hook.name();
        for (end, count) in hook.ends() {
            let end = end.name();
            line(text, format_args!("gumboot_hook_calls_total{{hook=\"{name}\",end=\"{end}\"}} {count}"));
        }
    }
    line(text, format_args!("# TYPE gumboot_hook_retries_total counter"));
    for hook in hooks {
        line(text, format_args!("gumboot_hook_retries_total{{hook=\"{}\"}} {}", hook.name(), hook.retries()));
    }
    line(text, format_args!("# TYPE gumboot_hook_breaker gauge"));
    for hook in hooks {
        let (name, is_in) = (hook.name(), hook.breaker(now));
        for (state, spelled) in [(State::Closed, "closed"), (State::HalfOpen, "half-open"), (State::Open, "open")] {
            let is = u8::from(state == is_in);
            line(text, format_args!("gumboot_hook_breaker{{hook=\"{name}\",state=\"{spelled}\"}} {is}"));
        }
    }
}

fn by_label(text: &mut String, name: &str, label: &str, workers: impl Iterator<Item = BTreeMap<&'static str, u64>>) {
    line(text, format_args!("# TYPE gumboot_{name} counter"));
    for (worker, counts) in workers.enumerate() {
        for (value, count) in counts {
            line(text, format_args!("gumboot_{name}{{worker=\"{worker}\",{label}=\"{value}\"}} {count}"));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Invariant: writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::app::hook;

    #[test]
    fn every_count_has_its_worker_and_its_type() {
        let counters = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        counters[1].connections.add(3);
        counters[0].closed("disconnect");
        counters[0].closed("disconnect");
        counters[1].limit_reached("queue-full");
        let options = hook::Options::new("chat", hook::Endpoint::parse("http://localhost/").unwrap());
        let hooks = hook::Hooks::new(&[options]).unwrap();
        let text = render(&counters, &hooks.monitors, Instant::now());
        for line in [
            "# TYPE gumboot_connections gauge",
            "gumboot_connections{worker=\"0\"} 0",
            "gumboot_connections{worker=\"1\"} 3",
            "# TYPE gumboot_deliveries_total counter",
            "gumboot_sessions_closed_total{worker=\"0\",reason=\"disconnect\"} 2",
            "gumboot_hook_calls_total{hook=\"chat\",end=\"not-called\"} 0",
            "gumboot_hook_retries_total{hook=\"chat\"} 0",
            "gumboot_hook_breaker{hook=\"chat\",state=\"closed\"} 1",
            "gumboot_hook_breaker{hook=\"chat\",state=\"open\"} 0",
            "gumboot_limits_reached_total{worker=\"1\",code=\"queue-full\"} 1",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
    }
}
