//! Process titles: programs that write over their own command line (`nginx: worker process`). A title is for people; it
//! may hold anything, so only its first word is ever kept.

use super::{interpreter, root::file_name};

/// Bytes of a program's name that are kept at most.
const COMMAND_MAX: usize = 256;

/// Whether a command line was written over: it is a single argument with spaces, which isn't the executable's own path.
pub(super) fn is_rewritten(argv: &[String], exe: Option<&str>) -> bool {
    matches!(argv, [only] if only.trim_end().contains(char::is_whitespace) && exe != Some(only.as_str()))
}

/// The program's name as it was called: `argv[0]`, of a title the first word without its colon.
pub(super) fn command(argv: &[String], exe: Option<&str>) -> Option<String> {
    let first = argv.first()?;
    let command = if exe == Some(first.as_str()) {
        first.as_str()
    } else {
        first.split(|c: char| c.is_whitespace() || c.is_control()).next()?.trim_end_matches(':')
    };
    (!command.is_empty() && command.len() <= COMMAND_MAX).then(|| command.to_owned())
}

/// The service that a title of an interpreted program names: the application in the brackets of gunicorn
/// (`gunicorn: worker [shop:app]`) and puma (`puma 6.4 (tcp://...) [shop]`), else the first word.
pub(super) fn service(title: &str) -> Option<String> {
    let first = title.split_whitespace().next()?.trim_matches(['[', ']', ':', '(', ')']);
    let program = first.split(':').next().unwrap_or(first);
    if matches!(program, "gunicorn" | "puma") {
        let bracketed = title.trim_end().strip_suffix(']').and_then(|title| title.rsplit_once('[')).map(|(_, app)| app);
        if let Some(name) = bracketed.and_then(interpreter::application) {
            return Some(name);
        }
    }
    let program = file_name(program)?;
    let is_word = program.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (is_word && interpreter::Interpreter::of(program).is_none()).then(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    #[test]
    fn a_rewritten_command_line_is_told_from_a_real_one() {
        assert!(is_rewritten(&argv(&["nginx: worker process"]), Some("/usr/sbin/nginx")));
        assert!(is_rewritten(&argv(&["gunicorn: master [shop:app]"]), Some("/usr/bin/python3")));
        for real in [&["nginx"][..], &["python3", "app.py"], &["sh", "-c", "a b"], &["/opt/my app/run"], &[]] {
            assert!(!is_rewritten(&argv(real), Some("/opt/my app/run")), "{real:?}");
        }
    }

    #[test]
    fn only_the_first_word_of_a_title_is_kept() {
        for (args, expected) in [
            (&["nginx: master process /usr/sbin/nginx -c /secret"][..], Some("nginx")),
            (&["postgres: alice shop 127.0.0.1(5) SELECT 'token'"], Some("postgres")),
            (&["/usr/bin/curl", "-H", "Authorization: Bearer x"], Some("/usr/bin/curl")),
            (&["/opt/my app/run", "x"], Some("/opt/my app/run")),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(command(&argv(args), Some("/opt/my app/run")).as_deref(), expected, "{args:?}");
        }
        assert_eq!(command(&argv(&[&"x".repeat(COMMAND_MAX + 1)]), None), None);
    }

    #[test]
    fn titles_of_application_servers_name_the_application() {
        for (title, expected) in [
            ("gunicorn: worker [shop:app]", Some("shop")),
            ("gunicorn: master [shop.wsgi]", Some("shop")),
            ("gunicorn: arbiter", Some("gunicorn")),
            ("puma 6.4.0 (tcp://0.0.0.0:3000) [shop]", Some("shop")),
            ("puma: cluster worker 0: 123 [shop]", Some("shop")),
            ("npm run start", Some("npm")),
            ("next-server (v14.1.0)", Some("next-server")),
            ("[celeryd: celery@host:MainProcess] -active-", Some("celeryd")),
            ("python: something", None),
            ("s3cr3t/../ x", None),
            ("", None),
        ] {
            assert_eq!(service(title).as_deref(), expected, "{title}");
        }
    }
}
