//! Programs that the host's Go builds.

use std::{fs::File, path::Path, process::Command};

use crate::tls::{Analysis, How, Library, analyse};

const PROGRAM: &str = r#"package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	fmt.Println(http.Get(os.Args[1]))
}
"#;

fn built(directory: &Path, name: &str, arguments: &[&str]) -> Analysis {
    let mut go = Command::new("go");
    go.current_dir(directory).env("GOTOOLCHAIN", "local").args(["build", "-o", name]).args(arguments).arg(".");
    assert!(go.status().unwrap().success());
    let mut found = analyse(&File::open(directory.join(name)).unwrap()).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
#[ignore = "needs Go, and takes its time"]
fn a_stripped_program_has_the_hooks_of_the_one_with_symbols() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("main.go"), PROGRAM).unwrap();
    std::fs::write(directory.path().join("go.mod"), "module example\n\ngo 1.17\n").unwrap();
    for mode in ["exe", "pie"] {
        let mode = format!("-buildmode={mode}");
        let full = built(directory.path(), "full", &[&mode]);
        let stripped = built(directory.path(), "stripped", &[&mode, "-ldflags=-s -w"]);
        assert_eq!((full.library, full.how, stripped.how), (Library::Go, How::SymbolTable, How::GoLineTable));
        assert_eq!(full.hooks, stripped.hooks);
    }
}
