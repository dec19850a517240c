//! Launchers of Python applications: programs that are a script themselves but serve an application named by their
//! arguments.

use super::path::module_of;

/// Module names that follow the application's own in the last place.
const TAILS: [&str; 8] = ["wsgi", "asgi", "main", "app", "application", "server", "__main__", "api"];

/// The application that `launcher` (a stem or a module) runs with `args`; `None` when it is no launcher that we know, or
/// names none.
pub(super) fn target(launcher: &str, args: &[&str]) -> Option<String> {
    match launcher {
        "gunicorn" => option(args, &["-n", "--name"]).map(str::to_owned).or_else(|| served(args)),
        "uvicorn" | "hypercorn" | "daphne" | "granian" | "waitress-serve" | "waitress" => served(args),
        "flask" => application(option(args, &["--app", "-A"])?),
        "celery" => application(option(args, &["-A", "--app"])?),
        _ => None,
    }
}

/// The value of the first of `names` that is given, as `-n value` or `--name=value`.
fn option<'a>(args: &[&'a str], names: &[&str]) -> Option<&'a str> {
    let given = |(at, arg): (usize, &&'a str)| {
        if names.contains(arg) {
            return args.get(at + 1).copied();
        }
        arg.split_once('=').filter(|(name, _)| names.contains(name)).map(|(_, value)| value)
    };
    args.iter().enumerate().find_map(given).filter(|value| !value.is_empty())
}

/// `module:callable` among the arguments; else a first or last argument that is a module's name and no option's value.
fn served(args: &[&str]) -> Option<String> {
    let explicit = args.iter().filter(|arg| arg.contains(':')).find_map(|arg| application(arg));
    let free = |at: usize| {
        let is_value = at > 0 && args[at - 1].starts_with('-') && !args[at - 1].contains('=');
        args.get(at).filter(|arg| !is_value && !arg.starts_with('-'))
    };
    let module = || free(0).or_else(|| free(args.len().checked_sub(1)?)).and_then(|arg| application(arg));
    explicit.or_else(module)
}

/// `shop.wsgi:application`, `shop:create_app()`, `shop.main` → `shop`.
pub(in crate::host) fn application(text: &str) -> Option<String> {
    let (module, callable) = text.split_once(':').unwrap_or((text, "app"));
    // `-b localhost:8000` is no application.
    if !callable.starts_with(|c: char| c.is_alphabetic() || c == '_') || callable.contains(['/', ':']) {
        return None;
    }
    module_of(module.strip_suffix(".py").unwrap_or(module), &TAILS)
}
