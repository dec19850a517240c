//! Files that most hosts have; where one is missing there is nothing to test.

use crate::tls::{Function, How, Library, Moment, analyse, openssl_version};

/// Each library that is found where distributions keep them.
fn libraries(name: &str) -> Vec<std::fs::File> {
    const DIRECTORIES: [&str; 5] =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64"];
    DIRECTORIES.iter().filter_map(|directory| std::fs::File::open(format!("{directory}/{name}")).ok()).collect()
}

#[test]
fn the_libraries_of_a_distribution_are_understood() {
    let (read, write, bio) = (Function::SslRead, Function::SslWrite, Function::BioWrite);
    for (name, library, functions) in [
        ("libssl.so.3", Library::OpenSsl, &[read, write, Function::SslReadEx, Function::SslFree][..]),
        ("libssl.so.1.1", Library::OpenSsl, &[read, write, Function::SslReadEx, Function::SslFree]),
        ("libcrypto.so.3", Library::OpenSsl, &[bio]),
        ("libgnutls.so.30", Library::GnuTls, &[Function::GnutlsRecordSend, Function::GnutlsRecordRecv]),
    ] {
        for file in libraries(name) {
            let found = analyse(&file).unwrap();
            assert_eq!(
                found.iter().map(|found| (found.library, found.how)).collect::<Vec<_>>(),
                [(library, How::DynamicSymbols)]
            );
            let version = found[0].version.clone().or_else(|| openssl_version(&file));
            assert!(version.is_some(), "{name}");
            let is_openssl_3 = name == "libssl.so.3" && cfg!(target_arch = "x86_64");
            for function in functions.iter().chain(is_openssl_3.then_some(&Function::SslReadInternal)) {
                let entry =
                    found[0].hooks.iter().filter(|hook| (hook.function, hook.moment) == (*function, Moment::Entry));
                assert_eq!(entry.count(), 1, "{function:?} in {name}");
            }
        }
    }
}

/// Prints what is in the files that `NETSPAN_TLS_FILES` names, and how long it took.
#[test]
#[ignore = "for looking at files by hand"]
fn files_by_hand() {
    let files = std::env::var("NETSPAN_TLS_FILES").unwrap();
    for path in files.split(':') {
        let file = std::fs::File::open(path).unwrap();
        let start = std::time::Instant::now();
        let found = analyse(&file);
        println!("{path}: {:?}", start.elapsed());
        match found {
            Err(refusal) => println!("  {refusal} ({refusal:?})"),
            Ok(found) => {
                for analysis in found {
                    println!("  {:?} {:?} {:?}", analysis.library, analysis.version, analysis.how);
                    for hook in analysis.hooks {
                        println!("    {:#x} {:?} {}", hook.offset, hook.moment, hook.function.name());
                    }
                }
            }
        }
    }
}
