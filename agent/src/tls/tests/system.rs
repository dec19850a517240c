//! Files that most hosts have; where one is missing there is nothing to test.

use crate::tls::analyse;

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
                    println!("  {:?} {:?} {:?} {:x?}", analysis.library, analysis.version, analysis.how, analysis.go);
                    for hook in analysis.hooks {
                        println!("    {:#x} {:?} {}", hook.offset, hook.moment, hook.function.name());
                    }
                }
            }
        }
    }
}
