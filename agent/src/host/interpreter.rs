//! Interpreters: what script, module, class or jar does a command line run? A function of the arguments and the working
//! directory; the answer is a name, never an argument as it stands.
//!
//! | command line | name |
//! |---|---|
//! | `python app.py` | `app`; for `__main__.py`, `manage.py`, `wsgi.py`, `asgi.py` the directory |
//! | `python -m http.server` | `http.server` |
//! | `gunicorn shop:app`, `uvicorn shop.main:app`, `python -m gunicorn shop.wsgi` | `shop` |
//! | `flask --app shop run`, `celery -A shop worker` | `shop` |
//! | `node api/orders.js` | `orders`; for `index`, `server`, `main`, `app` the directory |
//! | `java -jar x.jar`, `java -jar x-1.2.3.jar` | `x` |
//! | `java -cp ... com.Foo`, `java -m mod/com.Foo` | `com.Foo`, `mod` |
//! | `ruby x.rb`, `perl x.pl`, `php x.php`, `sh x.sh`, `dotnet X.dll` | the file's stem |
//!
//! "The directory" is the nearest one above the file that isn't named like every other project's (`src`, `dist`, `app`,
//! ...); where there is none, it stays the stem. Code given as an argument (`-c`, `-e`) names nothing.

mod launcher;
mod path;

use self::path::{module_of, named_by_directory};
pub(super) use self::{launcher::application, path::stem};

/// A family of interpreters that share a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interpreter {
    Python,
    Node,
    Java,
    Ruby,
    Perl,
    Php,
    Shell,
    Dotnet,
    /// Deno and Bun: scripts as for Node, after a subcommand.
    Runner,
}

/// Options of one interpreter, as far as they matter for finding the script.
struct Options {
    /// Options that take the next argument.
    valued: &'static [&'static str],
    /// Options after which there is no script.
    code: &'static [&'static str],
}

impl Interpreter {
    /// The interpreter that an executable is, by its file name.
    pub(super) fn of(file_name: &str) -> Option<Self> {
        // python3.11, ruby2.7, php8.2, pypy3
        let base = file_name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        Some(match base {
            "python" | "pypy" => Self::Python,
            "node" | "nodejs" => Self::Node,
            "java" => Self::Java,
            "ruby" | "jruby" => Self::Ruby,
            "perl" => Self::Perl,
            "php" => Self::Php,
            "sh" | "bash" | "dash" | "zsh" | "ash" => Self::Shell,
            "dotnet" => Self::Dotnet,
            "deno" | "bun" => Self::Runner,
            _ => return None,
        })
    }

    /// The name of what a command line runs, if it runs a file or a module.
    pub(super) fn script(self, command: &[String], cwd: Option<&str>) -> Option<String> {
        let args: Vec<&str> = command.iter().skip(1).map(String::as_str).collect();
        match self {
            Self::Python => python(&args, cwd),
            Self::Java => java(&args),
            Self::Node => {
                let at = self.positional(&args)?;
                let launched = matches!(stem(args[at]), "tsx" | "ts-node").then(|| args.get(at + 1)).flatten();
                named_by_directory(launched.copied().unwrap_or(args[at]), cwd, &["index", "server", "main", "app"])
            }
            Self::Runner => {
                let subcommand = args.first().is_some_and(|first| ["run", "serve"].contains(first));
                let args = &args[usize::from(subcommand)..];
                let script = args[self.positional(args)?];
                named_by_directory(script, cwd, &["index", "server", "main", "app", "mod"])
            }
            Self::Php => {
                named_by_directory(args[self.positional(&args)?], cwd, &["index", "server", "artisan", "console"])
            }
            Self::Dotnet => {
                let args = if args.first() == Some(&"exec") { &args[1..] } else { &args };
                let file = args[self.positional(args)?];
                file.strip_suffix(".dll").map(|file| stem(file).to_owned())
            }
            Self::Ruby | Self::Perl | Self::Shell => Some(stem(args[self.positional(&args)?]).to_owned()),
        }
    }

    /// The index of the first argument that is neither an option nor an option's value.
    fn positional(self, args: &[&str]) -> Option<usize> {
        let options = self.options();
        let mut at = 0;
        while let Some(&arg) = args.get(at) {
            if arg == "--" {
                return (at + 1 < args.len()).then_some(at + 1);
            }
            let short_code = |code: &&str| code.len() == 2 && !arg.starts_with("--") && arg.starts_with(*code);
            if options.code.contains(&arg) || options.code.iter().any(short_code) || arg == "-" {
                return None;
            }
            if !arg.starts_with('-') {
                return Some(at);
            }
            at += if options.valued.contains(&arg) { 2 } else { 1 };
        }
        None
    }

    const fn options(self) -> Options {
        let (valued, code): (&[_], &[_]) = match self {
            Self::Node => (
                &[
                    "-r",
                    "--require",
                    "--import",
                    "--loader",
                    "--experimental-loader",
                    "-C",
                    "--conditions",
                    "--title",
                    "--icu-data-dir",
                    "--openssl-config",
                    "--redirect-warnings",
                    "--env-file",
                ],
                &["-e", "-p", "--eval", "--print", "-pe", "-i", "--interactive"],
            ),
            Self::Ruby => (&["-I", "-r", "-C", "-E"], &["-e"]),
            Self::Perl => (&["-I"], &["-e", "-E"]),
            Self::Php => (&["-S", "-t", "-d", "-c", "-z"], &["-r", "-B", "-R", "-F", "-E"]),
            Self::Shell => (&["-o", "-O", "+o", "+O", "--rcfile", "--init-file"], &["-c", "-s"]),
            Self::Dotnet => {
                (&["--depsfile", "--runtimeconfig", "--additionalprobingpath", "--roll-forward", "--fx-version"], &[])
            }
            Self::Runner => (&["-c", "--config", "--import-map", "-r", "--preload", "--lock"], &["-e", "--eval", "-p"]),
            Self::Python | Self::Java => (&[], &[]),
        };
        Options { valued, code }
    }
}

/// Python's options may be joined (`-um module`), and `-m` and `-c` end them (`python --help`).
fn python(args: &[&str], cwd: Option<&str>) -> Option<String> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        at += 1;
        let Some(letters) = arg.strip_prefix('-') else {
            return python_file(arg, &args[at..], cwd);
        };
        if letters.is_empty() {
            return None;
        }
        if letters.starts_with('-') {
            at += usize::from(letters == "-check-hash-based-pycs");
            continue;
        }
        for (index, letter) in letters.char_indices() {
            let rest = &letters[index + letter.len_utf8()..];
            match letter {
                'c' => return None,
                'm' => {
                    let module = if rest.is_empty() { args.get(at)? } else { &rest };
                    let after = at + usize::from(rest.is_empty());
                    let launched = launcher::target(module, args.get(after..).unwrap_or_default());
                    return launched.or_else(|| module_of(module, &[]));
                }
                'W' | 'X' | 'Q' => {
                    at += usize::from(rest.is_empty());
                    break;
                }
                _ => {}
            }
        }
    }
    None
}

fn python_file(file: &str, args: &[&str], cwd: Option<&str>) -> Option<String> {
    launcher::target(stem(file), args)
        .or_else(|| named_by_directory(file, cwd, &["__main__", "manage", "wsgi", "asgi"]))
}

/// Java: the jar after `-jar`, the module after `-m`, else the first argument that is no option: the main class.
fn java(args: &[&str]) -> Option<String> {
    const VALUED: [&str; 14] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-opens",
        "--add-exports",
        "--add-reads",
        "--enable-native-access",
        "--source",
        "--limit-modules",
        "--patch-module",
    ];
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        at += 1;
        match arg {
            "-jar" => return args.get(at).map(|jar| without_version(stem(jar)).to_owned()),
            "-m" | "--module" => return args.get(at)?.split('/').next().map(str::to_owned),
            _ if VALUED.contains(&arg) => at += 1,
            _ if arg.starts_with(['-', '@']) => {}
            _ if arg.strip_suffix(".java").is_some() => return Some(stem(arg).to_owned()),
            // Spring Boot's launchers run any application: they name none.
            _ if arg.starts_with("org.springframework.boot.loader.") => return None,
            _ => return module_of(arg, &[]),
        }
    }
    None
}

/// `shop-1.2.3-SNAPSHOT` → `shop`: a version in a service's name would make each release another service.
fn without_version(name: &str) -> &str {
    let version_at = name.match_indices('-').map(|(at, _)| at).find(|at| {
        let rest = &name[at + 1..];
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('.')
    });
    version_at.filter(|at| *at > 0).map_or(name, |at| &name[..at])
}

#[cfg(test)]
mod tests;
