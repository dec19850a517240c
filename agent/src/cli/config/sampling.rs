//! Options of sampling.

use crate::{
    control::parse_duration,
    sample::{Incoming, Options, RULES_MAX, Rule, RuleError, Store, ratio},
};

/// Longest time that a trace may wait, in seconds.
const DELAY_MAX_S: u64 = 60;

pub(super) fn set_ratio(options: &mut Options, text: &str) -> Result<(), String> {
    options.ratio = ratio(text).ok_or("not a probability: give a number from 0 to 1, such as 0.01")?;
    Ok(())
}

pub(super) fn set_incoming(options: &mut Options, text: &str) -> Result<(), String> {
    options.incoming = match text {
        "override" => Incoming::Override,
        "respect" => Incoming::Respect,
        _ => return Err("not what can be done with callers' decisions: give override or respect".to_owned()),
    };
    Ok(())
}

pub(super) fn set_errors(options: &mut Options, text: &str) -> Result<(), String> {
    options.errors = match text {
        "keep" => true,
        "chance" => false,
        _ => return Err("not what can be done with errors: give keep or chance".to_owned()),
    };
    Ok(())
}

pub(super) fn set_slow(options: &mut Options, text: &str) -> Result<(), String> {
    options.slow = Some(parse_duration(text).map_err(|error| error.to_string())?);
    Ok(())
}

pub(super) fn set_slow_factor(options: &mut Options, text: &str) -> Result<(), String> {
    let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor >= 1.0);
    options.slow_factor = Some(factor.ok_or("not a factor: give a number from 1, such as 1.5")?);
    Ok(())
}

pub(super) fn set_rare(options: &mut Options, text: &str) -> Result<(), String> {
    options.rare = text.parse().map_err(|_| "not a number of traces: give one from 0 to 255, such as 1")?;
    Ok(())
}

pub(super) fn set_cap(options: &mut Options, text: &str) -> Result<(), String> {
    let cap = text.parse().ok().filter(|cap| *cap > 0);
    options.cap = Some(cap.ok_or("not a number of traces: give one from 1, such as 10")?);
    Ok(())
}

pub(super) fn set_delay(options: &mut Options, text: &str) -> Result<(), String> {
    let delay = parse_duration(text).map_err(|error| error.to_string())?;
    if delay.as_secs() >= DELAY_MAX_S {
        return Err(format!("too long a delay: give less than {DELAY_MAX_S}s, such as 1s"));
    }
    options.delay = delay;
    Ok(())
}

pub(super) fn set_store(options: &mut Options, text: &str) -> Result<(), String> {
    options.store = match text {
        "all" => Store::All,
        "kept" => Store::Kept,
        _ => return Err("not what a store can get: give all or kept".to_owned()),
    };
    Ok(())
}

pub(super) fn add_rule(rules: &mut Vec<Rule>, text: &str) -> Result<(), String> {
    if rules.len() >= RULES_MAX {
        return Err(format!("too many rules: give at most {RULES_MAX}"));
    }
    rules.push(text.parse().map_err(|error: RuleError| error.to_string())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_have_bounds_and_what_is_beyond_says_what_to_give() {
        type Set = fn(&mut Options, &str) -> Result<(), String>;
        let cases: [(Set, &[&str], &[&str]); 8] = [
            (set_ratio, &["0", "1", "0.01"], &["-1", "1.1", "NaN", "1%", ""]),
            (set_incoming, &["override", "respect"], &["yes"]),
            (set_errors, &["keep", "chance"], &["drop"]),
            (set_slow, &["250ms"], &["250", "-1s"]),
            (set_slow_factor, &["1", "2.5"], &["0.5", "inf", "NaN", "x"]),
            (set_rare, &["0", "255"], &["256", "-1"]),
            (set_cap, &["1", "1000"], &["0", "x"]),
            (set_delay, &["0s", "59s"], &["60s", "1"]),
        ];
        for (set, good, bad) in cases {
            for text in good {
                assert_eq!(set(&mut Options::default(), text), Ok(()), "{text}");
            }
            for text in bad {
                let error = set(&mut Options::default(), text).expect_err(text);
                assert!(error.contains("give "), "{error}");
            }
        }
        let mut options = Options::default();
        set_delay(&mut options, "1.5s").expect("a delay");
        assert_eq!(options.delay, Duration::from_millis(1500));
    }

    #[test]
    fn the_number_of_rules_is_bounded() {
        let mut rules = Vec::new();
        (0..RULES_MAX).for_each(|_| add_rule(&mut rules, "status=5xx keep").expect("a rule"));
        assert!(add_rule(&mut rules, "keep").is_err_and(|error| error.starts_with("too many rules")));
    }
}
