//! Tracepoints as the tracing file system lists them.

use std::{fs, path::PathBuf};

use super::ProbeError;

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Finds the tracing file system, and mounts it where it belongs if it is nowhere.
pub fn root() -> Result<PathBuf, ProbeError> {
    if let Some(place) = PLACES.iter().find(|place| fs::exists(format!("{place}/events")).unwrap_or(false)) {
        return Ok(PathBuf::from(place));
    }
    rustix::mount::mount("tracefs", PLACES[0], "tracefs", rustix::mount::MountFlags::empty(), None).map_err(refused)?;
    Ok(PathBuf::from(PLACES[0]))
}

/// Why it could not be mounted. Without privileges it can't be seen either, even if it is mounted.
fn refused(error: rustix::io::Errno) -> ProbeError {
    match error {
        rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => {
            ProbeError::Permission(format!("{} can't be read: {error}", PLACES[0]))
        }
        _ => ProbeError::Tracefs(format!("{} is not mounted, and mounting it: {error}", PLACES[0])),
    }
}

/// The format of an event, or nothing where this kernel does not have it.
pub fn format(root: &std::path::Path, category: &str, event: &str) -> Option<String> {
    fs::read_to_string(root.join("events").join(category).join(event).join("format")).ok()
}

/// Offset of a field in an event's record.
pub fn offset(format: &str, field: &str) -> Option<usize> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        let name = declaration.rsplit([' ', '*']).next()?.split('[').next()?;
        if name != field {
            return None;
        }
        rest.trim().strip_prefix("offset:")?.split(';').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: x\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:__u8 saddr[4];\toffset:22;\tsize:4;\tsigned:0;\n";

    #[test]
    fn offsets_are_found_by_the_fields_bare_name() {
        assert_eq!(offset(FORMAT, "skaddr"), Some(8));
        assert_eq!(offset(FORMAT, "saddr"), Some(22));
        assert_eq!(offset(FORMAT, "family"), None);
    }
}
