//! Where a cgroup path says that a process runs: container and systemd unit. A function of the path alone.
//!
//! # Container
//! The innermost part of the path that ends in 64 hexadecimal digits: bare (`/docker/ID`, `/kubepods/burstable/podUID/ID`),
//! after a dash (`docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`), or after a colon
//! (`kubepods-...:cri-containerd:ID`). The monitors beside a container (`crio-conmon-ID.scope`) are not in it. Of systemd-nspawn, whose
//! containers have no id, the machine's name: what is below `payload` in `machine-NAME.scope` or `systemd-nspawn@NAME.service`
//! (`src/nspawn/nspawn-cgroup.c`); the supervisor beside it is not in it.
//!
//! # Pod
//! What stands after `pod` in a part that the kubelet made: `podUID`, or `kubepods-burstable-podUID.slice` with `_` for `-`. A UID is a
//! UUID or, of a static pod, 32 hexadecimal digits.
//!
//! # Unit
//! The innermost part that ends in `.service` or `.scope`. Within a container only the parts below the container's own
//! count, for the unit above it is the runtime's. The unit that *names* a service is the innermost `.service` that is no
//! user's manager (`user@1000.service`): scopes (`session-3.scope`, `init.scope`) are sessions and groups, not services.

/// Where systemd-nspawn lets run what is in a container, below its unit.
const PAYLOAD: &str = "payload";
/// Digits of a container id.
const ID_DIGITS: usize = 64;

/// What a cgroup path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Container id.
    pub container: Option<String>,
    /// UID of the pod of Kubernetes.
    pub pod: Option<String>,
    /// systemd unit, with its suffix.
    pub unit: Option<String>,
    /// The service's name by its unit, without suffix.
    pub unit_name: Option<String>,
}

impl Place {
    /// Reads a cgroup path.
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        let container = (0..parts.len()).rev().find_map(|at| Some((at, container_at(&parts, at)?)));
        let inner = container.as_ref().map_or(0, |(at, _)| at + 1);
        let units = || parts[inner..].iter().rev();
        let is_unit = |part: &&&str| [".service", ".scope"].iter().any(|suffix| part.ends_with(suffix));
        let unit_name =
            units().filter(|part| !part.starts_with("user@")).find_map(|part| part.strip_suffix(".service"));
        Self {
            container: container.map(|(_, id)| id),
            pod: parts.iter().rev().find_map(|part| pod(part)),
            unit: units().find(is_unit).map(|unit| unescape(unit)),
            unit_name: unit_name.filter(|name| !name.is_empty()).map(unescape),
        }
    }
}

/// The pod's UID in one part of a cgroup path.
fn pod(part: &str) -> Option<String> {
    let base = part.split(".slice").next()?;
    let by_systemd =
        || base.rsplit_once("-pod").filter(|(before, _)| before.ends_with("kubepods") || before.contains("kubepods-"));
    let uid = base.strip_prefix("pod").or_else(|| by_systemd().map(|(_, uid)| uid))?.replace('_', "-");
    let is_hex = |text: &str| text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let groups: Vec<_> = uid.split('-').map(str::len).collect();
    let is_uid = groups == [8, 4, 4, 4, 12] || groups == [32];
    (is_uid && is_hex(&uid.replace('-', ""))).then_some(uid)
}

/// The container whose outermost cgroup is at this path.
pub(crate) fn container_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    container_at(&parts, parts.len().checked_sub(1)?)
}

/// The container whose outermost cgroup is this part of a path.
fn container_at(parts: &[&str], at: usize) -> Option<String> {
    let part = *parts.get(at)?;
    if part == PAYLOAD {
        let unit = *parts.get(at.checked_sub(1)?)?;
        let scope = || unit.strip_prefix("machine-")?.strip_suffix(".scope");
        let service = || unit.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
        return scope().or_else(service).filter(|name| !name.is_empty()).map(unescape);
    }
    container_id(part).map(str::to_owned)
}

/// The container id in one part of a cgroup path.
fn container_id(part: &str) -> Option<&str> {
    let base = part.strip_suffix(".scope").unwrap_or(part);
    let at = base.len().checked_sub(ID_DIGITS)?;
    let (before, id) = (base.get(..at)?, base.get(at..)?);
    let own = before.is_empty() || (before.ends_with(['-', ':']) && !before.ends_with("conmon-"));
    (own && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))).then_some(id)
}

/// systemd writes bytes that are special to it as `\xHH` (systemd.unit(5)).
fn unescape(unit: &str) -> String {
    let mut bytes = Vec::with_capacity(unit.len());
    let mut rest = unit;
    while let Some(at) = rest.find("\\x") {
        let code = rest.get(at + 2..at + 4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let Some(code) = code else {
            bytes.extend_from_slice(b"\\x");
            rest = &rest[at + 2..];
            continue;
        };
        bytes.push(code);
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OUTER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn containers_of_all_runtimes_and_drivers_are_found() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/docker/OUTER/docker/ID",
            "/system.slice/docker-OUTER.scope/kubepods/besteffort/pod1-2-3/ID",
            "/kubepods/burstable/pod0a1b/ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a_1b.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-pod0a.slice/crio-ID.scope/container",
            "/system.slice/containerd.service/kubepods-besteffort-pod0a.slice:cri-containerd:ID",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "/libpod_parent/libpod-ID",
            "/../../kubepods/pod0a/ID",
            "/default/ID",
            "/ecs/0a1b/ID",
        ] {
            let place = Place::of(&path.replace("ID", ID).replace("OUTER", OUTER));
            assert_eq!(place.container.as_deref(), Some(ID), "{path}");
            assert_eq!((place.unit, place.unit_name), (None, None), "{path}: the runtime's own unit doesn't count");
        }
    }

    #[test]
    fn pods_are_known_by_their_uid() {
        const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
        const STATIC: &str = "0123456789abcdef0123456789abcdef";
        for (path, expected) in [
            ("/kubepods/burstable/podUID/ID", Some(UID)),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNIT.slice/cri-containerd-ID.scope",
                Some(UID),
            ),
            ("/kubepods.slice/kubepods-podUNIT.slice/crio-ID.scope/container", Some(UID)),
            ("/system.slice/containerd.service/kubepods-besteffort-podUNIT.slice:cri-containerd:ID", Some(UID)),
            ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNIT.slice/cri-containerd-ID.scope", Some(UID)),
            ("/../../kubepods/besteffort/podSTATIC/ID", Some(STATIC)),
            ("/machine.slice/my-podUNIT.slice", None),
            ("/pods/podman", None),
            ("/kubepods/pod-1-2-3/ID", None),
        ] {
            let path = path.replace("UNIT", &UID.replace('-', "_")).replace("STATIC", STATIC);
            let place = Place::of(&path.replace("UID", UID).replace("ID", ID));
            assert_eq!(place.pod.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn machines_of_nspawn_are_containers_by_their_names() {
        for (path, container, unit) in [
            ("/machine.slice/systemd-nspawn@web.service/payload", Some("web"), None),
            ("/machine.slice/machine-web\\x2done.scope/payload/init.scope", Some("web-one"), Some("init.scope")),
            ("/machine.slice/machine-web.scope/payload/system.slice/nginx.service", Some("web"), Some("nginx.service")),
            ("/machine.slice/machine-web.scope/payload/system.slice/docker-ID.scope", Some(ID), None),
            ("/machine.slice/machine-web.scope/supervisor", None, Some("machine-web.scope")),
            ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt", None, Some("machine-qemu-1-vm.scope")),
            ("/payload", None, None),
            ("/system.slice/web.service/payload", None, Some("web.service")),
        ] {
            let place = Place::of(&path.replace("ID", ID));
            assert_eq!((place.container.as_deref(), place.unit.as_deref()), (container, unit), "{path}");
        }
        assert_eq!(container_of("/machine.slice/machine-web.scope/payload").as_deref(), Some("web"));
        assert_eq!(container_of("/machine.slice/machine-web.scope/payload/init.scope"), None);
    }

    #[test]
    fn what_only_looks_like_a_container_is_none() {
        for path in [
            "/",
            "",
            "/system.slice/crio-conmon-ID.scope",
            "/machine.slice/libpod-conmon-ID.scope",
            "/process_api/0123456789abcdef0123456789abcdef",
            "/docker/xID",
            "/docker/IDx",
        ] {
            assert_eq!(Place::of(&path.replace("ID", ID)).container, None, "{path}");
        }
    }

    #[test]
    fn the_innermost_unit_counts_and_only_services_name() {
        for (path, unit, name) in [
            ("/system.slice/nginx.service", Some("nginx.service"), Some("nginx")),
            (
                "/system.slice/system-postgresql.slice/postgresql@15-main.service",
                Some("postgresql@15-main.service"),
                Some("postgresql@15-main"),
            ),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("init.scope"), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service",
                Some("shop.service"),
                Some("shop"),
            ),
            ("/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service"), None),
            ("/init.scope", Some("init.scope"), None),
            ("/system.slice/web.service/payload.scope/deep", Some("payload.scope"), Some("web")),
            ("/system.slice/my\\x2dshop.service", Some("my-shop.service"), Some("my-shop")),
            ("/system.slice/odd\\x+1.service", Some("odd\\x+1.service"), Some("odd\\x+1")),
            ("/system.slice/.service", Some(".service"), None),
            ("/docker/ID/system.slice/nginx.service", Some("nginx.service"), Some("nginx")),
            ("/netspan-demo/web", None, None),
        ] {
            let place = Place::of(&path.replace("ID", ID));
            assert_eq!((place.unit.as_deref(), place.unit_name.as_deref()), (unit, name), "{path}");
        }
    }
}
