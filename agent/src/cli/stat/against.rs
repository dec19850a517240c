//! `netspan stat --against`: the same groups in two times, what changed most first.

use std::process::ExitCode;

use anyhow::Context as _;
use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use super::{
    super::table::{duration, print, rate, share},
    Args, Metric, show_groups,
};
use crate::control::{nanoseconds, parse_duration};

/// Runs the command with `--against`.
pub(super) fn run(args: &Args, earlier: &str) -> anyhow::Result<ExitCode> {
    let earlier_ns = nanoseconds(parse_duration(earlier).context("--against")?);
    let window = args.query.window()?.context("--against needs a time to compare: give --last or --from")?;
    let ask = |from_ns: u64, to_ns: u64| {
        let mut words = args.query.rules();
        words.extend([("from", from_ns.to_string()), ("to", to_ns.to_string()), ("group-by", args.group_by.name())]);
        anyhow::Ok(args.agent.get_json("/v1/stat", &words)?["groups"].take())
    };
    let (from_ns, to_ns) = window;
    let now = ask(from_ns, to_ns)?;
    let before = ask(from_ns.saturating_sub(earlier_ns), to_ns.saturating_sub(earlier_ns))?;
    if args.agent.json {
        print(&format!("{}\n", json!({ "now": now, "before": before })))?;
        return Ok(ExitCode::SUCCESS);
    }
    let pairs = pairs(&now, &before, args.metric);
    let rows: Vec<_> = pairs.iter().take(args.limit).map(|(name, now, before)| row(name, now, before)).collect();
    let numbers = ["per s", "before", "", "errors", "before", "p50", "before", "", "p99", "before", ""];
    show_groups(args.group_by, &numbers, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Groups by name in both times, those first whose figure changed most.
fn pairs<'a>(now: &'a Json, before: &'a Json, metric: Metric) -> Vec<(&'a str, &'a Json, &'a Json)> {
    let groups =
        |all: &'a Json| all.as_array().into_iter().flatten().filter_map(|group| Some((group["name"].as_str()?, group)));
    let mut known: FxHashMap<&str, &Json> = groups(before).collect();
    let mut pairs: Vec<_> =
        groups(now).map(|(name, group)| (name, group, known.remove(name).unwrap_or(&Json::Null))).collect();
    pairs.extend(known.into_iter().map(|(name, group)| (name, &Json::Null, group)));
    let figure = |group: &Json| metric.of(group).unwrap_or(0.0);
    let changed = |(_, now, before): &(&str, &Json, &Json)| (figure(now) - figure(before)).abs();
    pairs.sort_by(|a, b| changed(b).total_cmp(&changed(a)).then_with(|| a.0.cmp(b.0)));
    pairs
}

fn row(name: &str, now: &Json, before: &Json) -> Vec<String> {
    let dash = |is_there: bool, text: String| if is_there { text } else { "-".to_owned() };
    let both = |shown: fn(&Json) -> String, field: &str| {
        [now, before].map(|group| dash(!group.is_null(), shown(&group[field])))
    };
    let change = |field: &str| change(now[field].as_f64(), before[field].as_f64());
    let mut cells = vec![name.to_owned()];
    cells.extend(both(rate, "rate"));
    cells.push(change("rate"));
    cells.extend(both(share, "error_share"));
    for field in ["p50_ns", "p99_ns"] {
        cells.extend(both(duration, field));
        cells.push(change(field));
    }
    cells
}

/// How a figure changed, for people.
fn change(now: Option<f64>, before: Option<f64>) -> String {
    match (now, before) {
        (Some(_), None) => "new".to_owned(),
        (None, Some(_)) => "gone".to_owned(),
        (Some(now), Some(before)) if before > 0.0 && now / before >= 2.0 => format!("x{:.1}", now / before),
        (Some(now), Some(before)) if before > 0.0 => format!("{:+.0}%", (now / before - 1.0) * 100.0),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_most_is_first_and_what_is_new_or_gone_is_said() {
        let group = |name: &str, p50: f64| json!({ "name": name, "p50_ns": p50, "rate": 1.0, "error_share": 0.0 });
        let now = json!([group("same", 5e6), group("slower", 9e6), group("new", 3e6)]);
        let before = json!([group("same", 5e6), group("slower", 3e6), group("gone", 1e6)]);
        let pairs = pairs(&now, &before, Metric::P50);
        assert_eq!(pairs.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["slower", "new", "gone", "same"]);
        let changes: Vec<String> = pairs.iter().map(|(name, now, before)| row(name, now, before)[8].clone()).collect();
        assert_eq!(changes, ["x3.0", "new", "gone", "+0%"]);
        assert_eq!(row("gone", &Json::Null, &before[2])[1..4], ["-", "1.00", "gone"]);
        assert_eq!((change(Some(3.0), Some(4.0)), change(Some(0.0), Some(0.0))), ("-25%".to_owned(), String::new()));
    }
}
