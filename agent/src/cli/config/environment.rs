//! Options in environment variables: `NETSPAN_` and the key in capitals, lists with commas.

use super::{FILE_VARIABLE, Given, Layer, Origin, Shape, Spec, similar::nearest};

/// What all variables begin with.
const PREFIX: &str = "NETSPAN_";

/// The options among `variables`, and a warning for each variable that looks like a slip. Other variables with the prefix
/// are left alone: Kubernetes makes some (`NETSPAN_SERVICE_HOST`) for a service of that name. An empty variable is unset.
pub(super) fn layer(variables: &[(String, String)]) -> (Layer, Vec<String>) {
    let known: Vec<(String, &Spec)> = Spec::ALL.iter().map(|spec| (spec.variable(), spec)).collect();
    let (mut layer, mut warnings) = (Layer::new(), Vec::new());
    for (name, value) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX) && name != FILE_VARIABLE) {
        match known.iter().find(|(variable, _)| variable == name) {
            Some(_) if value.trim().is_empty() => {}
            Some((_, spec)) => {
                let values = match spec.shape {
                    Shape::List => {
                        value.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
                    }
                    Shape::One | Shape::Switch => vec![value.trim().to_owned()],
                };
                layer.push(Given { key: spec.key, values, origin: Origin::Variable(name.clone()) });
            }
            None => {
                let meant = nearest(name, known.iter().map(|(variable, _)| variable.as_str()));
                warnings.extend(
                    meant.map(|meant| format!("{name}: no such variable, it is ignored; did you mean {meant}?")),
                );
            }
        }
    }
    (layer, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Layer, Vec<String>) {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        layer(&variables)
    }

    #[test]
    fn variables_become_options_and_lists_are_split() {
        let (layer, warnings) = read(&[
            ("NETSPAN_FILTER_PORT", "80, 443,"),
            ("NETSPAN_REDACT_KEEP_QUERY", "true"),
            ("NETSPAN_OTLP_URL", " "),
            ("NETSPAN_CONFIG", "x"),
            ("PATH", "/bin"),
        ]);
        let read: Vec<_> = layer.iter().map(|given| (given.key, given.values.join("|"))).collect();
        assert_eq!(read, [("filter.port", "80|443".into()), ("redact.keep_query", "true".into())]);
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_slip_is_pointed_out_and_what_kubernetes_sets_is_not() {
        let (layer, warnings) = read(&[
            ("NETSPAN_FILTER_PROT", "80"),
            ("NETSPAN_SERVICE_HOST", "10.0.0.1"),
            ("NETSPAN_PORT", "tcp://10.0.0.1:4317"),
            ("NETSPAN_PORT_4317_TCP_ADDR", "10.0.0.1"),
        ]);
        assert!(layer.is_empty());
        assert_eq!(
            warnings,
            ["NETSPAN_FILTER_PROT: no such variable, it is ignored; did you mean NETSPAN_FILTER_PORT?"]
        );
    }
}
