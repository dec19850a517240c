//! Processes as they stand in procfs, and the names they get.

use std::sync::Arc;

use super::*;
use crate::host::{
    Identities, Processes,
    fake::{Fake, Process},
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PYTHON: Option<&str> = Some("/usr/bin/python3.11");

fn named_by(rules: &[&str], processes: &[Process<'_>]) -> (String, NameSource) {
    let fake = Fake::new();
    for process in processes {
        fake.start(process);
    }
    let rules = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
    let last = processes.last().expect("a process").pid;
    let identity = Processes::new(fake.root(), rules).identity(last, 1_000_000_000);
    let Identity { service, service_from, .. } = Arc::unwrap_or_clone(identity);
    (service, service_from)
}

fn named(process: Process<'_>) -> (String, NameSource) {
    named_by(&[], &[process])
}

fn is(name: &str, from: NameSource) -> (String, NameSource) {
    (name.to_owned(), from)
}

#[test]
fn each_source_gives_way_to_the_better_one() {
    let cgroup = format!("0::/docker/{ID}/system.slice/cart.service\n");
    let full = || Process {
        comm: "python3",
        exe: PYTHON,
        args: "python3 /srv/orders.py",
        environ: "OTEL_SERVICE_NAME=declared",
        cgroup: &cgroup,
        ..Process::default()
    };
    let in_container = format!("0::/docker/{ID}\n");
    assert_eq!(named_by(&["exe:python3*=configured"], &[full()]), is("configured", NameSource::Configured));
    assert_eq!(named(full()), is("declared", NameSource::Declared));
    let attribute = Process { environ: "OTEL_RESOURCE_ATTRIBUTES=service.name=shop,a=b", ..full() };
    assert_eq!(named(attribute), is("shop", NameSource::Declared));
    assert_eq!(named(Process { environ: "", ..full() }), is("cart", NameSource::Unit));
    let no_unit = || Process { environ: "", cgroup: &in_container, ..full() };
    assert_eq!(named(no_unit()), is("orders", NameSource::Script));
    assert_eq!(named(Process { args: "python3", ..no_unit() }), is("python3.11", NameSource::Executable));
    assert_eq!(named(Process { exe: None, args: "", ..no_unit() }), is("python3", NameSource::Comm));
    assert_eq!(
        named(Process { exe: None, args: "", comm: "", ..no_unit() }),
        is("0123456789ab", NameSource::Container)
    );
    assert_eq!(named(Process { comm: "", ..Process::default() }), is(UNKNOWN, NameSource::Unknown));
}

#[test]
fn rules_match_by_each_dimension_and_the_first_wins() {
    let cgroup = format!("0::/docker/{ID}\n");
    let process = || Process {
        comm: "nginx",
        exe: Some("/usr/sbin/nginx"),
        args: "nginx",
        cgroup: &cgroup,
        ..Process::default()
    };
    for rule in
        ["exe:/usr/sbin/nginx=edge", "exe:nginx=edge", "comm:nginx=edge", "cgroup:/docker=edge", "container:0123=edge"]
    {
        assert_eq!(named_by(&[rule], &[process()]).0, "edge", "{rule}");
    }
    assert_eq!(named_by(&["comm:curl=no", "comm:nginx=first", "exe:nginx=second"], &[process()]).0, "first");
    assert_eq!("exe:/opt/a=b/run=shop".parse::<NameRule>().expect("a rule").name, "shop", "the last = counts");
    for (rule, why) in [
        ("nginx=edge", "not a naming rule"),
        ("comm:nginx", "not a naming rule"),
        ("pid:7=edge", "not a naming rule"),
        ("comm:nginx=", "not a service name"),
        ("comm:a/b=edge", "not a command name"),
    ] {
        let error = rule.parse::<NameRule>().expect_err("no rule").to_string();
        assert!(error.starts_with(why), "{rule}: {error}");
    }
}

#[test]
fn titles_never_rename_a_program_that_is_no_interpreter() {
    let nginx = Process {
        comm: "nginx",
        exe: Some("/usr/sbin/nginx"),
        title: Some("nginx: worker process"),
        ..Process::default()
    };
    assert_eq!(named(nginx), is("nginx", NameSource::Executable));
    let fpm = Process { exe: Some("/usr/sbin/php-fpm8.2"), title: Some("php-fpm: pool www"), ..Process::default() };
    assert_eq!(named(fpm), is("php-fpm8.2", NameSource::Executable));
}

#[test]
fn a_deleted_executable_keeps_its_name() {
    let updated = Process { exe: Some("/usr/sbin/nginx (deleted)"), ..Process::default() };
    assert_eq!(named(updated), is("nginx", NameSource::Executable));
    let script = Process { exe: Some("/usr/bin/python3 (deleted)"), args: "python3 orders.py", ..Process::default() };
    assert_eq!(named(script), is("orders", NameSource::Script));
}

#[test]
fn a_program_of_many_names_is_called_by_the_one_it_was_started_with() {
    let wget = Process { exe: Some("/bin/busybox"), args: "/usr/bin/wget http://x", ..Process::default() };
    assert_eq!(named(wget), is("wget", NameSource::Executable));
}

#[test]
fn a_forked_worker_is_named_as_its_parent() {
    let master = || Process {
        pid: 10,
        comm: "gunicorn",
        exe: PYTHON,
        args: "/usr/bin/python3 /usr/bin/gunicorn shop:app",
        ..Process::default()
    };
    let worker = || Process { pid: 11, parent: 10, ..master() };
    assert_eq!(named_by(&[], &[master(), worker()]), is("shop", NameSource::Script));

    let titled = || Process { title: Some("gunicorn: worker [other]"), ..worker() };
    assert_eq!(named_by(&[], &[master(), titled()]), is("shop", NameSource::Script), "the parent knows better");
    let master_titled = Process { title: Some("gunicorn: master [shop:app]"), ..master() };
    assert_eq!(named_by(&[], &[master_titled, titled()]), is("shop", NameSource::Script));
    assert_eq!(
        named(Process { parent: 1, ..titled() }),
        is("other", NameSource::Script),
        "without a parent, the title"
    );

    let spawned = Process { args: "/usr/bin/python3 -c from-multiprocessing", ..worker() };
    assert_eq!(named_by(&[], &[master(), spawned]), is("shop", NameSource::Script));

    let declares = Process { environ: "OTEL_SERVICE_NAME=store", ..master() };
    assert_eq!(
        named_by(&[], &[declares, titled()]),
        is("store", NameSource::Declared),
        "the title spoiled the environment"
    );
}

#[test]
fn a_child_that_runs_another_program_is_not_named_as_its_parent() {
    let shop = || Process {
        pid: 10,
        exe: PYTHON,
        args: "python3 shop.py",
        environ: "OTEL_SERVICE_NAME=shop",
        ..Process::default()
    };
    let child = |exe, args| Process { pid: 11, parent: 10, exe: Some(exe), args, ..Process::default() };
    assert_eq!(named_by(&[], &[shop(), child("/usr/bin/curl", "curl x")]).0, "curl");
    assert_eq!(named_by(&[], &[shop(), child("/usr/bin/python3.11", "python3 cart.py")]).0, "cart");
    assert_eq!(
        named_by(&[], &[shop(), child("/usr/bin/python3.11", "python3")]).0,
        "python3.11",
        "an environment of its own"
    );
}

#[test]
fn a_name_that_is_no_name_is_passed_over() {
    let long = format!("OTEL_SERVICE_NAME={}", "x".repeat(NAME_MAX + 1));
    let process = Process { exe: Some("/usr/bin/curl"), environ: &long, ..Process::default() };
    assert_eq!(named(process), is("curl", NameSource::Executable));
}

#[test]
fn a_program_called_through_a_link_has_the_links_name() {
    let identity = |comm: &str, command: &str, exe: &str| Identity {
        comm: comm.to_owned(),
        command: Some(command.to_owned()),
        exe: Some(exe.to_owned()),
        ..Identity::default()
    };
    let name = |identity| executable(&identity).expect("a name");
    assert_eq!(name(identity("redis-server", "/usr/bin/redis-server", "/usr/bin/redis-check-rdb")), "redis-server");
    assert_eq!(name(identity("nginx", "nginx", "/usr/sbin/nginx")), "nginx");
    assert_eq!(name(identity("very-long-comma", "x", "/opt/very-long-command")), "very-long-command");
    assert_eq!(name(identity("worker", "server", "/opt/server")), "server", "a thread's or a title's name");
}

/// Command lines of every shape: nothing of what a process says of itself may end the agent.
#[test]
fn no_command_line_makes_it_panic() {
    const PARTS: [&str; 26] = [
        "",
        "-",
        "--",
        "-m",
        "-c",
        "-um",
        "-W",
        "-jar",
        "-cp",
        "run",
        "exec",
        "gunicorn",
        "a:b",
        ":",
        "/",
        "//",
        ".",
        "..",
        "../index.js",
        "x.py",
        "é",
        "ü:é",
        "=",
        "--app=",
        "-n",
        "shop-1.2.jar",
    ];
    const PROGRAMS: [&str; 9] = ["python3", "node", "java", "ruby", "php", "sh", "dotnet", "deno", "curl"];
    let fake = Fake::new();
    // A generator of numbers, the same at each run (Knuth's constants).
    let mut state: u64 = 1;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..400 {
        let program = PROGRAMS[next(PROGRAMS.len())];
        let mut words = vec![program];
        words.extend((0..next(5)).map(|_| PARTS[next(PARTS.len())]));
        let (args, exe) = (words.join(" "), format!("/usr/bin/{program}"));
        let title = (next(4) == 0).then_some(args.as_str());
        fake.start(&Process { exe: Some(&exe), args: &args, title, cwd: "/srv/shop", ..Process::default() });
        let identity = Processes::new(fake.root(), Vec::new()).identity(100, 1_000_000_000);
        assert!(!identity.service.is_empty() && identity.service.len() <= NAME_MAX, "{args}: {identity:?}");
    }
}
